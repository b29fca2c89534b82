"""Pictures of an avatar that turns about the vertical, or whose light goes round it."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mosar.avatar.avatar import Avatar
from mosar.avatar.encode import srgb8
from mosar.avatar.surface_points import Points, Scene, look_up, scene_of, shaded
from mosar.models.camera import Camera
from mosar.models.losses import resized
from mosar.models.rasterizer import Covered, covered, rasterize, scatter
from mosar.models.reconstruct.estimate import Maps
from mosar.models.shading import sh
from mosar.torch_threads import torch_threads
from mosar.turntable_plan import View

_DISTANCE_MM = 1200.0
_MARGIN = 1.04
_SUPERSAMPLE = 2
_BACKGROUND = 0.03  # linear
_TEXELS = 1.6
"""Texels of a map's side per pixel of a picture's: maps of this size need no filter, which takes most of the time."""


@torch.no_grad()
def pictures(avatar: Avatar, shown: Iterable[View], size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """A square picture (size, size, 3), sRGB, of each view, on dark grey. The light stays in place when the head turns.

    Args:
        avatar: shown under its own light, ``light_1lc``.
        shown: views, as those of a :class:`mosar.turntable_plan.TurntablePlan`.
        size: pixels a side.
    """
    scene = scene_of(_coarse(avatar, size), smooth=_coarsest(size))
    points: tuple[float, Covered, Points] | None = None
    for view in shown:
        with torch_threads(1):
            if points is None or points[0] != view.head:
                camera = _camera(scene, size * _SUPERSAMPLE, view.head)
                points = (view.head, *_seen(scene, camera, size * _SUPERSAMPLE))
            light = sh.rotate(avatar.light_1lc, _turn(view.light - view.head).to(avatar.light_1lc))
            picture = _picture(points[1], shaded(points[2], light), size)
        yield picture


def _coarse(avatar: Avatar, size: int) -> Avatar:
    """The avatar with maps no finer than the pictures can show."""
    side = _coarsest(size)

    def shrunk(values: Tensor) -> Tensor:
        return values if values.shape[-1] <= side else resized(values, values.new_empty(1, 1, side, side))

    return replace(avatar, maps=Maps(*(shrunk(getattr(avatar.maps, field.name)) for field in fields(Maps))))


def _coarsest(size: int) -> int:
    """Texels a side of the coarsest maps that show all that a picture of this size can."""
    return max(math.ceil(_TEXELS * size), 256)


def _camera(scene: Scene, size: int, degrees: float) -> Camera:
    """A level camera before the head, which is turned about its own vertical axis and stays whole in the picture."""
    low, high = scene.vertices_1v3[0].amin(dim=0), scene.vertices_1v3[0].amax(dim=0)
    centre = (low + high) / 2
    from_centre = scene.vertices_1v3[0] - centre
    radius_v, height_v = from_centre[:, [0, 2]].norm(dim=1), from_centre[:, 1].abs()
    # The largest slopes of rays to a vertex while it goes round the axis: sideways, and up or down when it is nearest.
    sideways = radius_v / (_DISTANCE_MM**2 - radius_v**2).sqrt()
    slope = float(torch.maximum(sideways, height_v / (_DISTANCE_MM - radius_v)).max())
    focal = size / (2 * _MARGIN * slope)
    facing = torch.diag(centre.new_tensor([1.0, -1.0, -1.0]))
    rotation = facing @ _turn(degrees)[0].to(centre)
    translation = centre.new_tensor([0.0, 0.0, _DISTANCE_MM]) - rotation @ centre
    intrinsics = centre.new_tensor([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    return Camera(intrinsics[None], rotation[None], translation[None])


def _turn(degrees: float) -> Tensor:
    """Rotation (1, 3, 3) about +y; a positive angle turns +z towards +x."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]])


def _seen(scene: Scene, camera: Camera, size: int) -> tuple[Covered, Points]:
    fragments = rasterize(scene.vertices_1v3, scene.triangles_f3, camera, (size, size))
    visible = covered(fragments, len(scene.triangles_f3))
    return visible, look_up(scene, camera, visible)


def _picture(visible: Covered, values_n5: Tensor, size: int) -> npt.NDArray[np.uint8]:
    fine = scatter(visible, values_n5, (1, size * _SUPERSAMPLE, size * _SUPERSAMPLE))
    mean = avg_pool2d(fine, _SUPERSAMPLE)
    return srgb8(mean[:, :3] + (1.0 - mean[:, 3:4]) * _BACKGROUND)
