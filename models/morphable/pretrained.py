"""A trained morphable model in one file: half-precision weights with their configuration and the head's digest."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from mosar.config import parse, to_mapping
from mosar.errors import DataError
from mosar.models.head import Head
from mosar.models.morphable.config import Config
from mosar.models.morphable.network import Morphable

DEFAULT_PATH = Path(__file__).parent / "data" / "scanned.safetensors"


def load(head: Head, path: Path = DEFAULT_PATH) -> Morphable:
    """Load a model in evaluation mode.

    Raises:
        DataError: the file is missing, was not written by :func:`save`, or belongs to another head.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: {error}; expected a file written by jobs/export_morphable.py") from error
    if about.get("head") != head.digest:
        raise DataError(
            f"{path} belongs to another head (sha256 {str(about.get('head'))[:12]}) than {head.name} "
            f"({head.digest[:12]}); train stage=morphable on this head"
        )
    module = Morphable(head, parse(Config, about["model"], str(path)))
    module.load_state_dict(tensors)
    return module.eval().requires_grad_(False)


def to_file(module: Morphable, head: Head) -> bytes:
    """Content of the file that :func:`load` reads; the same model gives the same bytes."""
    # Means stay in single precision: half precision rounds values of the size of a head to a tenth of a millimetre.
    tensors = {
        name: value.detach().cpu().to(torch.float32 if "mean" in name else torch.float16).contiguous()
        for name, value in module.state_dict().items()
    }
    about = json.dumps({"head": head.digest, "model": to_mapping(module.config)}, sort_keys=True)
    return to_bytes(tensors, {"about": about})
