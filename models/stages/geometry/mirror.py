"""Mirrored samples: a mirrored photograph shows a mirrored person.

Shapes: b batch, n detected points, l SH coefficients.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mosar.models.head import Head
from mosar.models.head.expressions import NAMES

_MAPS = ("diffuse", "specular", "image", "mask")


class Mirror:
    """Mirrors fields of decoded samples about the head's plane x = 0, and pictures left to right."""

    def __init__(self, head: Head, crop_size: int) -> None:
        self.crop_size = crop_size
        self._vertex_v = torch.tensor(head.mirror_v)
        self._score_e = torch.tensor([NAMES.index(_other(name)) for name in NAMES])
        self._sign_l = _light_signs()

    def __call__(self, sample: Mapping[str, Tensor], point_n: Tensor, chosen_b: Tensor) -> dict[str, Tensor]:
        """The sample with the chosen ones of its rows mirrored.

        Args:
            point_n: number of the mirrored one of each detected point.
        """
        found = {}
        for name, value in sample.items():
            mirrored = self._mirrored(name, value, point_n)
            found[name] = torch.where(chosen_b.view(-1, *[1] * (value.ndim - 1)), mirrored, value)
        return found

    def _mirrored(self, name: str, value: Tensor, point_n: Tensor) -> Tensor:
        if name in _MAPS:
            return value.flip(-1)
        if name in ("landmarks", "detected"):
            known = value[:, :, 2:] != 0 if name == "landmarks" else (value != 0).any(dim=(1, 2), keepdim=True)
            moved = torch.where(known, value * _flip(value) + self.crop_size * _right(value), value)
            return moved[:, point_n.to(value.device)]
        if name in ("mesh", "neutral"):
            return value[:, self._vertex_v.to(value.device)] * _flip(value)
        if name == "blendshapes":
            return value[:, self._score_e.to(value.device)]
        if name == "light":
            return value * self._sign_l.to(value)[:, None]
        if name == "rotation":
            return value * (_flip(value)[:, None] * _flip(value))
        if name == "translation":
            return value * _flip(value)
        if name == "intrinsics":
            moved = value.clone()
            moved[:, 0, 2] = self.crop_size - value[:, 0, 2]
            return moved
        if name == "found":
            return value
        raise ValueError(f"field {name!r}: how it looks in a mirror is not known")


def mirrored_points(reference_n3: Tensor) -> Tensor:
    """Number of the mirrored one of each point of a nearly symmetric shape, whose plane of symmetry is x = 0."""
    from scipy.optimize import linear_sum_assignment

    points = reference_n3.double().cpu().numpy()
    distance = np.linalg.norm(points[:, None] * [-1.0, 1.0, 1.0] - points[None], axis=-1)
    return torch.from_numpy(linear_sum_assignment(np.minimum(distance, distance.T))[1])


def _flip(like: Tensor) -> Tensor:
    return like.new_tensor([-1.0, 1.0, 1.0])


def _right(like: Tensor) -> Tensor:
    return like.new_tensor([1.0, 0.0, 0.0])


def _other(name: str) -> str:
    """Name of the expression that a mirror shows."""
    for one, other in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(one):
            return name[: -len(one)] + other
    return name


def _light_signs() -> Tensor:
    """Sign (l) by which a mirror about x = 0 multiplies each SH coefficient: phi becomes pi - phi."""
    signs = []
    for band in range(9):
        for m in range(-band, band + 1):
            even = abs(m) % 2 == 0
            signs.append(1.0 if even == (m >= 0) else -1.0)
    return torch.tensor(signs)
