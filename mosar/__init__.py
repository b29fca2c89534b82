"""Relightable 3D head avatars from one portrait photograph.

    import mosar

    reconstructor = mosar.load("out/demo/storage/bundles/demo")
    avatar = reconstructor("me.jpg")
    avatar.save("avatar/")

In a checkout the folders beside this one are ``mosar.platform``, ``mosar.models``, ``mosar.datasets`` and
``mosar.jobs``; in a wheel they are installed inside this package. A top-level package named ``platform`` would shadow
the standard library's, so those folders are importable through this package only. ``import mosar`` loads neither torch
nor Ray: each export is loaded when it is first used.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mosar.avatar import Avatar
    from mosar.avatar.files import open_avatar as open  # noqa: A004
    from mosar.reconstructor import Reconstructor, load

__all__ = ["Avatar", "Reconstructor", "__version__", "load", "open"]
__version__ = "0.1.0"

_HOMES = {
    "Avatar": ("mosar.avatar", "Avatar"),
    "Reconstructor": ("mosar.reconstructor", "Reconstructor"),
    "load": ("mosar.reconstructor", "load"),
    "open": ("mosar.avatar.files", "open_avatar"),
}

_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file():
    __path__.append(str(_checkout))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
