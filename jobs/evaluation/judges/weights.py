"""Read the weights of a TensorFlow.js model: a manifest (JSON) and one file of values, some quantised to eight bits."""

import json

import numpy as np
import torch
from torch import Tensor

from mosar.errors import DataError
from mosar.jobs.evaluation.judges.fetch import FACE_API
from mosar.platform import storage
from mosar.platform.storage import digest

_AXES = {4: (3, 2, 0, 1)}
"""Convolution kernels: (height, width, in, out) to torch's (out, in, height, width)."""


def read(folder: str, model: str) -> dict[str, Tensor]:
    """Read the weights of ``model`` by name, float32; kernels in torch's order of axes.

    Raises:
        DataError: a file is missing or is not the pinned one.
    """
    manifest = json.loads(_verified(folder, f"{model}-weights_manifest.json"))
    content = _verified(folder, f"{model}.bin")
    found, offset = {}, 0
    for about in manifest[0]["weights"]:
        shape, quantised = about["shape"], about.get("quantization")
        count = int(np.prod(shape))
        stored = np.frombuffer(content, np.dtype("u1") if quantised else np.dtype("<f4"), count, offset)
        offset += stored.nbytes
        values = stored.astype(np.float32)
        if quantised:
            values = values * np.float32(quantised["scale"]) + np.float32(quantised["min"])
        value = torch.from_numpy(values.reshape(shape))
        found[about["name"]] = value.permute(_AXES.get(value.ndim, tuple(range(value.ndim)))).contiguous()
    return found


def _verified(folder: str, name: str) -> bytes:
    location = storage.join(folder, name)
    mend = "fetch it with python jobs/fetch_judges.py"
    if not storage.exists(location):
        raise DataError(f"{location}: there is no such file; {mend}")
    content = storage.read_bytes(location)
    if digest.of_bytes(content) != FACE_API.members[name].sha256:
        raise DataError(f"{location}: not the file of {FACE_API.name} {FACE_API.version}; {mend}")
    return content
