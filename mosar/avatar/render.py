"""Render an avatar under any light and camera.

Legend: n covered pixels, h w rows and columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mosar.avatar.avatar import Avatar
from mosar.avatar.surface_points import look_up, scene_of, shaded
from mosar.models.camera import Camera, project, to_camera, transform_image
from mosar.models.rasterizer import Covered, covered, rasterize, scatter

_TILE = 1024  # pixels a side, before supersampling
_CHUNK = 1 << 17  # samples shaded at a time


@dataclass(frozen=True)
class Picture:
    """A rendered avatar.

    Attributes:
        colour_13hw: linear RGB, premultiplied by ``alpha_11hw``, not clamped.
        alpha_11hw: share of each pixel that the head covers.
        face_11hw: share that visible facial skin (no scalp, eyes or mouth interior) covers.
    """

    colour_13hw: Tensor
    alpha_11hw: Tensor
    face_11hw: Tensor


def render(avatar: Avatar, camera: Camera, size: tuple[int, int], supersample: int = 2) -> Picture:
    """Render under the avatar's light at ``size`` = (height, width), with ``supersample`` squared samples per pixel."""
    picture = avatar.light_1lc.new_zeros(1, 5, *size)
    for place, part in tiles(avatar, camera, size, supersample):
        picture[(..., *place)] = torch.cat([part.colour_13hw, part.alpha_11hw, part.face_11hw], dim=1)
    return Picture(picture[:, :3], picture[:, 3:4], picture[:, 4:])


@torch.no_grad()
def tiles(
    avatar: Avatar, camera: Camera, size: tuple[int, int], supersample: int = 2
) -> Iterator[tuple[tuple[slice, slice], Picture]]:
    """The parts of :func:`render` that the head may cover, each with its rows and columns.

    They bound the memory for large photographs.
    """
    scene = scene_of(avatar)
    top, bottom, left, right = _box(camera, scene.vertices_1v3, size)
    for row in range(top, bottom, _TILE):
        for column in range(left, right, _TILE):
            height, width = min(_TILE, bottom - row), min(_TILE, right - column)
            scale = camera.intrinsics_b33.new_tensor(
                [[supersample, 0, -column * supersample], [0, supersample, -row * supersample], [0, 0, 1]]
            )
            moved = transform_image(camera, scale[None])
            samples = height * supersample, width * supersample
            visible = covered(
                rasterize(scene.vertices_1v3, scene.triangles_f3, moved, samples), len(scene.triangles_f3)
            )
            parts = [
                shaded(look_up(scene, moved, _slice(visible, start)), avatar.light_1lc)
                for start in range(0, len(visible.image_n), _CHUNK)
            ]
            values = torch.cat(parts) if parts else avatar.light_1lc.new_zeros(0, 5)
            part = avg_pool2d(scatter(visible, values, (1, *samples)), supersample)
            place = slice(row, row + height), slice(column, column + width)
            yield place, Picture(part[:, :3], part[:, 3:4], part[:, 4:])


def _box(camera: Camera, points_1n3: Tensor, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the pixels that the points' box touches; all if points are behind the camera."""
    height, width = size
    if float(to_camera(camera, points_1n3)[..., 2].min()) <= 1.0:
        return 0, height, 0, width
    pixels = project(camera, points_1n3)[0]
    (left, top), (right, bottom) = pixels.amin(dim=0).floor().tolist(), pixels.amax(dim=0).ceil().tolist()
    low, high = max(int(top), 0), min(int(bottom), height)
    return low, max(high, low), max(int(left), 0), min(int(right), width)


def _slice(visible: Covered, start: int) -> Covered:
    end = start + _CHUNK
    return Covered(*(getattr(visible, field.name)[start:end] for field in fields(visible)))
