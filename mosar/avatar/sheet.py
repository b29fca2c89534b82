"""An overview picture: the photograph and the avatar as it is best judged, at the photograph's sharpness."""

import math
from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mosar.avatar.avatar import Avatar
from mosar.avatar.encode import srgb8, unit8
from mosar.avatar.full_size import over
from mosar.avatar.render import Picture, render
from mosar.datasets.crop import crop_affine, warp
from mosar.models.camera import Camera, transform_image
from mosar.models.colour import LUMINANCE

Bytes = npt.NDArray[np.uint8]
TILE, LARGEST_TILE = 384, 1024  # pixels: least and most of a picture's side
_TURN = 30.0  # degrees
_BACKGROUND = 0.03  # linear


def avatar_sheet(avatar: Avatar, lights: Mapping[str, Tensor]) -> Bytes:
    """The sheet (h, w, 3), sRGB: photograph, overlay, albedo, normals, turned; other lights, neutral, shape.

    Args:
        lights: name -> nine SH bands (81, 3) in the head frame.
    """
    left, top, side = _face_square(avatar)
    tile = int(min(max(round(side), TILE), LARGEST_TILE))
    camera = _square_camera(avatar.camera, left, top, side, tile)
    picture = render(avatar, camera, (tile, tile))
    photograph = avatar.photograph_hw3
    behind = np.zeros((tile, tile, 3), np.uint8) if photograph is None else _crop(photograph, left, top, side, tile)
    shown = {} if photograph is None else {"photograph": behind}
    shown |= {
        "overlay": over(picture, behind),
        "albedo": _tile(srgb8(avatar.maps.diffuse), tile),
        "normals": _tile(unit8(avatar.maps.normal * 0.5 + 0.5), tile),
    }
    first = next(iter(lights.values()))
    own = avatar.light_1lc[0]
    shapes = replace(avatar, maps=replace(avatar.maps, diffuse=torch.full_like(avatar.maps.diffuse, 0.25)))
    neutral = replace(avatar, vertices_1v3=avatar.neutral_1v3)
    views = [("turned", avatar, own, _turned(camera))]
    views += [(name, avatar, light, camera) for name, light in lights.items()]
    views += [("neutral", neutral, own, camera), ("shape", shapes, first, camera)]
    for name, subject, light, seen_from in views:
        relit = render(replace(subject, light_1lc=light[None].to(avatar.vertices_1v3)), seen_from, (tile, tile))
        # Exposed such that the face is as bright as under the avatar's own light.
        exposure = _brightness(picture) / _brightness(relit) if light is not own and subject is avatar else 1.0
        shown[name] = srgb8(exposure * relit.colour_13hw + (1.0 - relit.alpha_11hw) * _BACKGROUND)
    row = np.concatenate([_label(image, name) for name, image in shown.items()], axis=1)
    half = -(-len(shown) // 2) * tile
    below = np.pad(row[:, half:], ((0, 0), (0, 2 * half - row.shape[1]), (0, 0)))
    return np.concatenate([row[:, :half], below])


def _turned(camera: Camera) -> Camera:
    """The camera moved around the head by 30 degrees, away from the side on which it stands."""
    yaw = float(torch.atan2(-camera.rotation_b33[0, 2, 0], -camera.rotation_b33[0, 2, 2]))
    angle = math.radians(_TURN if yaw <= 0 else -_TURN)
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]]).to(camera.rotation_b33)
    return replace(camera, rotation_b33=camera.rotation_b33 @ turn)


def _brightness(picture: Picture) -> float:
    """Mean linear luminance of the visible facial skin; 1 if none is visible."""
    weight = picture.face_11hw
    luminance = (picture.colour_13hw * weight.new_tensor(LUMINANCE)[:, None, None]).sum(dim=1, keepdim=True)
    return max(float((luminance * weight).sum() / weight.sum()), 1e-3) if float(weight.sum()) > 0 else 1.0


def _face_square(avatar: Avatar) -> tuple[float, float, float]:
    points = avatar.landmarks_px()
    points = points[torch.isfinite(points).all(dim=1)]
    low, high = points.amin(dim=0), points.amax(dim=0)
    side = 1.9 * float((high - low).max())
    centre = (low + high) / 2
    return float(centre[0]) - side / 2, float(centre[1]) - 0.54 * side, side


def _square_camera(camera: Camera, left: float, top: float, side: float, tile: int) -> Camera:
    scale = tile / side
    affine = torch.tensor([[scale, 0.0, -left * scale], [0.0, scale, -top * scale], [0.0, 0.0, 1.0]])
    return transform_image(camera, affine[None].to(camera.intrinsics_b33))


def _crop(image: Bytes, left: float, top: float, side: float, tile: int) -> Bytes:
    return warp(image, crop_affine(np.array([left, top]) + side / 2, side, tile), tile)


def _tile(image: Bytes, tile: int) -> Bytes:
    return np.asarray(cv2.resize(image, (tile, tile), interpolation=cv2.INTER_AREA), np.uint8)


def _label(tile: Bytes, name: str) -> Bytes:
    image = Image.fromarray(tile)
    draw_on = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=18)
    draw_on.text((10, 8), name, font=font, fill="white", stroke_width=2, stroke_fill="black")
    return np.asarray(image)
