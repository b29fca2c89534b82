"""The shipped morphable model: half-precision weights with their configuration and the head's digest."""

from pathlib import Path

from mosar.config import parse, to_mapping
from mosar.errors import DataError
from mosar.models import weights_file
from mosar.models.head import Head
from mosar.models.morphable.config import Config
from mosar.models.morphable.network import Morphable

DEFAULT_PATH = Path(__file__).parent / "data" / "scanned.safetensors"


def load(head: Head, path: Path = DEFAULT_PATH) -> Morphable:
    """Load a model in evaluation mode.

    Raises:
        DataError: the file is missing, was not written by jobs/export_weights.py, or belongs to another head.
    """
    about, tensors = weights_file.read(path)
    if about.get("head") != head.digest:
        raise DataError(
            f"{path} belongs to another head (sha256 {str(about.get('head'))[:12]}) than {head.name} "
            f"({head.digest[:12]}); train stage=morphable on this head"
        )
    module = Morphable(head, parse(Config, about["model"], str(path)))
    module.load_state_dict(tensors)
    return module.eval().requires_grad_(False)


def to_file(module: Morphable, head: Head) -> bytes:
    """Content of the file that :func:`load` reads."""
    return weights_file.to_bytes(module, {"head": head.digest, "model": to_mapping(module.config)})
