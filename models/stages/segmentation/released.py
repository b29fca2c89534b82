"""The shipped segmentation, for whatever has none of its own: photographs that are sharded, bundles without one."""

from pathlib import Path

from mosar.config import parse, to_mapping
from mosar.errors import DataError
from mosar.models import weights_file
from mosar.models.stages.segmentation.config import Config
from mosar.models.stages.segmentation.network import Segmentation

PATH = Path(__file__).parent / "data" / "released.safetensors"


def load(path: Path | None = None) -> Segmentation:
    """Load a network in evaluation mode; by default the shipped one.

    Raises:
        DataError: the file is missing, was not written by jobs/export_weights.py, or fits another version.
    """
    path = path or PATH
    about, tensors = weights_file.read(path)
    module = Segmentation(parse(Config, about["model"], str(path)))
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(f"{path}: does not fit this version; export it again with jobs/export_weights.py") from error
    return module.eval().requires_grad_(False)


def to_file(module: Segmentation) -> bytes:
    """Content of the file that :func:`load` reads."""
    return weights_file.to_bytes(module, {"model": to_mapping(module.config)})
