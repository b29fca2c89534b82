"""An overview picture: photograph, overlay, albedo, normals, the avatar under other lights, its untextured shape."""

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
from mosar.avatar.render import Picture, render
from mosar.models.camera import Camera, transform_image

Bytes = npt.NDArray[np.uint8]
TILE = 384  # pixels
_BACKGROUND = 0.03  # linear
_LUMINANCE = (0.2126, 0.7152, 0.0722)


def avatar_sheet(avatar: Avatar, picture: Picture, lights: Mapping[str, Tensor]) -> Bytes:
    """The sheet (h, w, 3), sRGB.

    Args:
        picture: the avatar under its own light and camera, of the photograph's size.
        lights: name -> nine SH bands (81, 3) in the head frame.
    """
    left, top, side = _face_square(avatar)
    photograph = avatar.photograph_hw3
    shown = {} if photograph is None else {"photograph": _crop(photograph, left, top, side)}
    shown |= {
        "overlay": _crop(over(picture, photograph), left, top, side),
        "albedo": _tile(srgb8(avatar.maps.diffuse)),
        "normals": _tile(unit8(avatar.maps.normal * 0.5 + 0.5)),
    }
    camera = _square_camera(avatar.camera, left, top, side)
    shapes = replace(avatar, maps=replace(avatar.maps, diffuse=torch.full_like(avatar.maps.diffuse, 0.25)))
    first = next(iter(lights.values()))
    for name, subject, light in [*((n, avatar, li) for n, li in lights.items()), ("shape", shapes, first)]:
        relit = render(replace(subject, light_1lc=light[None].to(avatar.vertices_1v3)), camera, (TILE, TILE))
        # Exposed such that the face is as bright as under the avatar's own light.
        exposure = _brightness(picture) / _brightness(relit) if subject is avatar else 1.0
        shown[name] = srgb8(exposure * relit.colour_13hw + (1.0 - relit.alpha_11hw) * _BACKGROUND)
    row = np.concatenate([_label(tile, name) for name, tile in shown.items()], axis=1)
    half = -(-len(shown) // 2) * TILE
    below = np.pad(row[:, half:], ((0, 0), (0, 2 * half - row.shape[1]), (0, 0)))
    return np.concatenate([row[:, :half], below])


def _brightness(picture: Picture) -> float:
    """Mean linear luminance of the visible facial skin; 1 if none is visible."""
    weight = picture.face_11hw
    luminance = (picture.colour_13hw * weight.new_tensor(_LUMINANCE)[:, None, None]).sum(dim=1, keepdim=True)
    return max(float((luminance * weight).sum() / weight.sum()), 1e-3) if float(weight.sum()) > 0 else 1.0


def over(picture: Picture, photograph_hw3: Bytes | None) -> Bytes:
    """The rendered avatar over the photograph, or over black if there is none (h, w, 3), sRGB."""
    alpha = picture.alpha_11hw
    behind = np.zeros((*alpha.shape[-2:], 3), np.uint8) if photograph_hw3 is None else photograph_hw3
    photograph = torch.tensor(behind).to(alpha.device).permute(2, 0, 1)[None] / 255.0
    rendered = torch.from_numpy(srgb8(picture.colour_13hw / alpha.clamp_min(1e-6))).permute(2, 0, 1)[None] / 255.0
    return unit8(alpha * rendered.to(alpha) + (1.0 - alpha) * photograph)


def _face_square(avatar: Avatar) -> tuple[float, float, float]:
    points = avatar.landmarks_px()
    points = points[torch.isfinite(points).all(dim=1)]
    low, high = points.amin(dim=0), points.amax(dim=0)
    side = 1.9 * float((high - low).max())
    centre = (low + high) / 2
    return float(centre[0]) - side / 2, float(centre[1]) - 0.54 * side, side


def _square_camera(camera: Camera, left: float, top: float, side: float) -> Camera:
    scale = TILE / side
    affine = torch.tensor([[scale, 0.0, -left * scale], [0.0, scale, -top * scale], [0.0, 0.0, 1.0]])
    return transform_image(camera, affine[None].to(camera.intrinsics_b33))


def _crop(image: Bytes, left: float, top: float, side: float) -> Bytes:
    scale = TILE / side
    affine = np.array([[scale, 0.0, -left * scale], [0.0, scale, -top * scale]])
    smooth = image if scale > 1.0 else cv2.GaussianBlur(image, (0, 0), max(0.4 / scale, 1e-3))
    return np.asarray(cv2.warpAffine(smooth, affine, (TILE, TILE), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _tile(image: Bytes) -> Bytes:
    return np.asarray(cv2.resize(image, (TILE, TILE), interpolation=cv2.INTER_AREA), np.uint8)


def _label(tile: Bytes, name: str) -> Bytes:
    image = Image.fromarray(tile)
    draw_on = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=18)
    draw_on.text((10, 8), name, font=font, fill="white", stroke_width=2, stroke_fill="black")
    return np.asarray(image)
