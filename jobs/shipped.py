"""The shipped morphable model in the place of a finished run: ``train_stage.py parents.morphable=shipped``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mosar.errors import ConfigError

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


def parent() -> dict[str, str]:
    """What a run's fingerprint says of this parent."""
    from mosar.models.morphable import pretrained
    from mosar.platform.storage import digest

    return {"location": SHIPPED, "weights_sha256": digest.of_file(str(pretrained.DEFAULT_PATH))}


def fingerprint(head: Mapping[str, Any]) -> dict[str, Any]:
    """A fingerprint like that of a run; ``head``: path and digest of the head of the stages that build on it."""
    from mosar.config import to_mapping

    model = to_mapping(module(head["path"]).config)
    return {"stage": STAGE, "model": model, "head": dict(head), "parents": {}, "data": {}}


def weights(head: str | None) -> bytes:
    """The weights as a run stores them (safetensors)."""
    from safetensors.torch import save

    return save({name: value.contiguous() for name, value in module(head).state_dict().items()})
