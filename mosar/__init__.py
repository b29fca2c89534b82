"""Relightable 3D head avatars from one portrait photograph.

In a checkout the folders beside this one are ``mosar.platform``, ``mosar.models``, ``mosar.datasets`` and
``mosar.jobs``; in a wheel they are installed inside this package. A top-level package named ``platform`` would shadow
the standard library's, so those folders are reached through this package only.
"""

from pathlib import Path

__version__ = "0.1.0"

_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file():
    __path__.append(str(_checkout))
