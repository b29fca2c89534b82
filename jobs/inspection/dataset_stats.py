"""Statistics of a data set: one plain record per sample, read shard by shard, for counts and plots."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets import schema
from mosar.datasets.quality import Quality, angles
from mosar.models.colour import to_linear, to_srgb
from mosar.platform.data import shards
from mosar.platform.data.manifest import Manifest, open_manifest
from mosar.platform.data.ordered_map import streamed

ITA = (("very light", 55.0), ("light", 41.0), ("intermediate", 28.0), ("tan", 10.0), ("brown", -30.0), ("dark", -90.0))
"""Skin tones and the lower limits of their individual typology angle, degrees (Chardon et al. 1991)."""

SURFACE = 0.035
"""Reflectance of the skin's surface: measured tones include it, the albedo does not."""

_CHEEKS = ((0.2, 0.36), (0.64, 0.8))  # ranges of u, at the height of the nose
_FACING = np.diag([1.0, -1.0, -1.0])  # rotation of an upright head that faces an OpenCV camera


@dataclass(frozen=True)
class Fact:
    """Facts about one sample; None if unknown. Colours are linear RGB."""

    key: str
    split: str
    subject: str
    kind: str
    yaw: float | None
    pitch: float | None
    distance_mm: float | None
    age: float | None
    skin: tuple[float, float, float]
    light: str
    renderer: str
    licence: str
    expression: float | None
    flags: tuple[str, ...]

    @property
    def tone(self) -> str:
        return tone(self.skin)


def gather(found: Manifest, most: int, concurrency: int = 0) -> list[Fact]:
    """Read facts about at most ``most`` samples, spread evenly over the data set, in its order."""
    picked = evenly_over(found, most)
    work = functools.partial(_of_shard, found.location)
    return [fact for facts in streamed(picked, work, concurrency) for fact in facts]


def evenly_over(found: Manifest, most: int) -> list[tuple[int, str, tuple[int, ...]]]:
    """Choose at most ``most`` samples evenly: (shard number, split, indices of samples in the shard)."""
    rows = found.shards()
    sizes = np.array([row.samples for row in rows])
    total = int(sizes.sum())
    picked = np.unique(np.linspace(0, total - 1, min(most, total)).astype(int))
    ends = np.cumsum(sizes)
    shard_n = np.searchsorted(ends, picked, side="right")
    return [
        (int(s), rows[s].split, tuple(int(p - (ends[s] - sizes[s])) for p in picked[shard_n == s]))
        for s in np.unique(shard_n)
    ]


def tone(skin: Sequence[float]) -> str:
    """Name the tone of a skin colour (linear RGB) by its individual typology angle."""
    from skimage.color import rgb2lab

    encoded = to_srgb(torch.tensor(skin, dtype=torch.float64).clamp(0, 1)).numpy()
    lightness, _, b = rgb2lab(encoded[None, None])[0, 0]
    angle = np.degrees(np.arctan2(lightness - 50, max(b, 1e-6)))
    return next((name for name, low in ITA if angle >= low), ITA[-1][0])


def _of_shard(location: str, picked: tuple[int, str, tuple[int, ...]]) -> list[Fact]:
    shard, split, indices = picked
    found = open_manifest(location)
    extents = found.extents(shard, indices)
    read = shards.read_samples(found.shard_location(shard), extents)
    return [_fact(extent.key, split, members) for extent, members in zip(extents, read, strict=True)]


def _fact(key: str, split: str, members: Mapping[str, bytes]) -> Fact:
    kind = schema.kind_of(members)
    capture = schema.decode_member(members, "capture")
    quality = capture.get("quality", {})
    yaw, pitch, distance = quality.get("yaw"), quality.get("pitch"), None
    if kind == "lightstage":
        camera = schema.decode_member(members, "camera")
        yaw, pitch = angles(_FACING @ np.asarray(camera["rotation"]))
        distance = float(np.linalg.norm(camera["translation_mm"]))
    expression = capture.get("expression")
    return Fact(
        key=key,
        split=split,
        subject=str(capture["subject"]),
        kind=kind,
        yaw=yaw,
        pitch=pitch,
        distance_mm=distance,
        age=capture.get("age"),
        skin=_skin(members, kind),
        light=str(capture.get("light", "unknown")),
        renderer=str(capture.get("renderer", capture.get("source", "unknown"))),
        licence=str(capture.get("licence", "not stated")),
        expression=float(sum(expression.values())) if expression else None,
        flags=Quality(**quality).flags if quality else (),
    )


def _skin(members: Mapping[str, bytes], kind: str) -> tuple[float, float, float]:
    """Median reflectance (albedo and surface) of the cheeks; for photographs, the median of the skin pixels."""
    if kind == "lightstage":
        map_hw3: NDArray[np.uint8] = schema.decode_member(members, "diffuse")
        size = len(map_hw3)
        rows = map_hw3[round(0.42 * size) : round(0.58 * size)]
        pixels = np.concatenate([rows[:, round(a * size) : round(b * size)].reshape(-1, 3) for a, b in _CHEEKS])
    else:
        pixels = schema.decode_member(members, "image")[schema.decode_member(members, "mask") > 127]
    if not len(pixels):
        return (0.0, 0.0, 0.0)
    encoded = np.median(pixels, 0) / 255
    linear = to_linear(torch.from_numpy(encoded)).numpy()
    if kind == "lightstage":
        linear = linear + SURFACE
    return (float(linear[0]), float(linear[1]), float(linear[2]))
