"""Data sets with truth, read by their manifest: each capture as a photograph, and its truth as an avatar."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosar.avatar import Avatar
from mosar.datasets import schema
from mosar.datasets.quality import angles
from mosar.errors import DataError
from mosar.jobs.evaluation.avatar.texels import SIZE
from mosar.models.camera import Camera
from mosar.models.colour import to_linear
from mosar.models.head import Head
from mosar.models.reconstruct.estimate import Maps
from mosar.models.uv import unwrap
from mosar.platform import storage
from mosar.platform.data import shards
from mosar.platform.data.manifest import Manifest, open_manifest

Place = tuple[int, int]
"""Number of a shard, and index of a sample in it."""
_STEMS = (*schema.MAPS, "mesh", "neutral", "image", "mask", "light", "camera", "capture")
_FACING = np.diag([1.0, -1.0, -1.0])  # rotation of an upright head that faces the camera


@dataclass(frozen=True, eq=False)
class Capture:
    """A capture whose truth is known.

    Attributes:
        light: name of its light, empty if unknown.
        yaw, pitch: of the head, degrees.
        detail_mm: relief that no combination of the head's archetypes and modes shows; NaN if unknown.
        truth: the true avatar; ``photograph_hw3`` is the capture's image.
        seen_13hw: the photograph on the chart, through the true mesh and camera, linear.
        shown_hw: texels that the photograph shows, bool.
    """

    key: str
    subject: str
    light: str
    yaw: float
    pitch: float
    detail_mm: float
    truth: Avatar
    seen_13hw: Tensor
    shown_hw: Tensor

    @property
    def photograph_hw3(self) -> NDArray[np.uint8]:
        assert self.truth.photograph_hw3 is not None
        return self.truth.photograph_hw3


def locate_set(name: str, root: str) -> str:
    """The location of a data set that is given as absolute folder, URI, or name below ``data/`` of the storage root."""
    return name if name.startswith("/") or storage.is_uri(name) else storage.join(root, "data", name)


def places(found: Manifest, split: str) -> list[Place]:
    """All samples of a split, in order.

    Raises:
        DataError: the split has no samples.
    """
    chosen = found.split(split)
    counts = zip(chosen.shard_n, chosen.samples_n, strict=True)
    return [(int(shard), index) for shard, count in counts for index in range(int(count))]


def read_captures(location: str, where: Sequence[Place], head: Head) -> list[Capture]:
    """Read captures of a data set on ``head``.

    Raises:
        DataError: a sample has no truth, or was made on another head.
    """
    found = open_manifest(location)
    captures = []
    for shard, index in where:
        (extent,) = found.extents(shard, [index])
        (members,) = shards.read_samples(found.shard_location(shard), [extent])
        captures.append(capture_of(f"{location}: sample {extent.key}", extent.key, members, head))
    return captures


def capture_of(name: str, key: str, members: dict[str, bytes], head: Head) -> Capture:
    """A capture from a sample's encoded members; ``name``: of the sample, for messages.

    Raises:
        DataError: the sample has no truth, or was made on another head.
    """
    if schema.kind_of(members) != "lightstage":
        raise DataError(f"{name} has no truth; expected a data set of a light stage")
    sample = {stem: schema.decode_member(members, stem) for stem in _STEMS}
    about, of = sample["capture"], sample["camera"]
    if about.get("head_digest", head.digest) != head.digest:
        raise DataError(f"{name} was made on another head than the bundle's; make the data set on the bundle's head")
    camera = Camera(*(torch.tensor(of[k])[None].float() for k in ("intrinsics", "rotation", "translation_mm")))
    image = sample["image"]
    mesh = torch.from_numpy(sample["mesh"])[None]
    picture = torch.cat([to_linear(_channels(image) / 255.0), _channels(sample["mask"]) / 255.0], dim=1)
    seen, visible = unwrap(picture, head, mesh, camera, SIZE)
    shown = (visible.float() > 0.5) & (seen[:, 3:] > 0.99)
    truth = Avatar(
        head=head,
        vertices_1v3=mesh,
        neutral_1v3=torch.from_numpy(sample["neutral"])[None],
        maps=Maps(
            diffuse=to_linear(_channels(sample["diffuse"]) / 255.0),
            **{name: _channels(sample[name]) / 255.0 for name in ("specular", "ao", "translucency")},
            normal=_channels(sample["normal"]),
            confidence=torch.ones_like(_channels(sample["ao"])),
        ),
        eyes_hw3=head.eyes_albedo_hw3,
        mouth_hw3=head.mouth_albedo_hw3,
        tone={},
        camera=camera,
        light_1lc=torch.from_numpy(sample["light"])[None],
        expression=about["expression"],
        width=image.shape[1],
        height=image.shape[0],
        bundle_digest="",
        timings_s={},
        photograph_hw3=image,
    )
    yaw, pitch = angles(_FACING @ np.asarray(of["rotation"]))
    light = str(about.get("light", ""))
    detail = float(about.get("detail_mm", "nan"))
    return Capture(key, str(about["subject"]), light, yaw, pitch, detail, truth, seen[:, :3], shown[0, 0])


def _channels(array: NDArray[np.generic]) -> Tensor:
    """An image (h, w) or (h, w, c) as (1, c, h, w), float32."""
    values = torch.from_numpy(np.atleast_3d(array).astype(np.float32))
    return values.permute(2, 0, 1)[None].contiguous()
