"""What the program ships in the place of a finished run.

Stages can be built on the shipped morphable model (``train_stage.py parents.morphable=shipped``), and a bundle can
hold any shipped stage beside newly trained ones (``assemble.py runs.geometry=shipped``).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mosar import bundle
from mosar.errors import ConfigError, DataError
from mosar.platform import storage
from mosar.platform.storage import bundle as bundles

if TYPE_CHECKING:
    from mosar.models.morphable.network import Morphable

SHIPPED = "shipped"
"""Stands for a location of a run."""
STAGE = "morphable"


def check(stage: str) -> None:
    """Raises ConfigError if no weights of this stage are shipped for other stages to build on."""
    if stage != STAGE:
        raise ConfigError(f"parents.{stage}: got {SHIPPED}, but only {STAGE} is shipped; name a finished run")


def module(head: str | None) -> "Morphable":
    """The shipped model; ``head``: path of the head file, None for the default one.

    Raises:
        DataError: it belongs to another head.
    """
    from mosar.models.head import load_head
    from mosar.models.morphable import pretrained

    return pretrained.load(load_head(head))


def parent(stage: str = STAGE) -> dict[str, str]:
    """What the fingerprint of a run that is built on a shipped stage says of it."""
    from mosar.models.morphable import pretrained
    from mosar.platform.storage import digest

    path = str(pretrained.DEFAULT_PATH) if stage == STAGE else storage.join(_released(), f"{stage}.safetensors")
    return {"location": SHIPPED, "weights_sha256": digest.of_file(path)}


def fingerprint(stage: str, head: Mapping[str, Any]) -> dict[str, Any]:
    """A fingerprint like that of a run; ``head``: path and digest of the head of the stages beside it.

    Raises:
        ConfigError: the shipped bundle has no such stage.
        DataError: the shipped stage belongs to another head.
    """
    from mosar.config import to_mapping

    if stage == STAGE:
        model = to_mapping(module(head["path"]).config)
        return {"stage": stage, "model": model, "head": dict(head), "parents": {}, "data": {}}
    about = _about()
    if stage not in about["stages"]:
        raise ConfigError(f"runs.{stage}: got {SHIPPED}, but the program ships no such stage; name a finished run")
    if about["shipped"]["head"] != head["digest"]:
        raise DataError(f"runs.{stage}: the shipped stage belongs to another head than the runs beside it")
    parents = {STAGE: parent()} if STAGE in _requires(stage) else {}
    data = about["data"].get(stage, {})
    return {"stage": stage, "model": about["stages"][stage], "head": dict(head), "parents": parents, "data": data}


def summary(stage: str) -> dict[str, Any]:
    """What the run of a shipped stage reported in the end; empty for the morphable model."""
    return {} if stage == STAGE else dict(_about()["runs"].get(stage, {}))


def weights(stage: str, head: str | None) -> bytes:
    """The weights as a run stores them (safetensors)."""
    from safetensors.torch import save

    if stage == STAGE:
        return save({name: value.contiguous() for name, value in module(head).state_dict().items()})
    return bundles.read_files(_released())[0][f"{stage}.safetensors"]


def _requires(stage: str) -> tuple[str, ...]:
    import importlib

    found: tuple[str, ...] = importlib.import_module(f"mosar.models.stages.{stage}").Stage.requires
    return found


def _released() -> str:
    return bundle.locate(bundle.RELEASED, None)


def _about() -> dict[str, Any]:
    found: dict[str, Any] = bundles.read_manifest(_released())["about"]
    return found
