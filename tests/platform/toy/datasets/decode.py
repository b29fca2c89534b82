"""Decodes the toy's samples: an array, and a little noise where augmentation is wanted."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DecodeSpec:
    fields: tuple[str, ...]
    map_size: int
    crop_size: int
    augment: bool = False


def decode(members: Mapping[str, bytes], want: DecodeSpec, seed: int) -> dict[str, np.ndarray]:
    found = {name: np.load(io.BytesIO(members[f"{name}.npy"]), allow_pickle=False) for name in want.fields}
    if want.augment:
        found["x"] = found["x"] + np.random.default_rng(seed).normal(0, 0.01, found["x"].shape).astype(np.float32)
    return found
