"""What the photograph shows of the skin, on the chart, at the photograph's own resolution."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, max_pool2d

from mosar.models.camera import Camera, project, transform_image
from mosar.models.colour import to_linear
from mosar.models.face_classes import SKIN, share
from mosar.models.head import Head
from mosar.models.losses import resized
from mosar.models.reconstruct.estimate import Portrait
from mosar.models.reconstruct.frames import frames
from mosar.models.texture_space.fill import pull_push
from mosar.models.uv import density, unwrap

BASE = 512
"""Texels a side of the maps on which smooth quantities are computed: weights, fills, gains and offsets."""
SIZES = (512, 1024, 2048, 4096)
"""Texels a side that the avatar's maps may have."""

_RIM, _CLOTH_RIM = 0.002, 0.012  # left out inside the outline of the skin, and beside cloth; shares of the crop's side
_CLIPPED, _BLACK = 253.0, 2.0  # a pixel with a channel above the first, or all below the second, shows no colour
_FRAMED = 0.5  # share of a texel that frames of glasses on skin cover, from which the skin below is continued
_BAND = 1 << 20  # pixels of the photograph at a time


@dataclass(frozen=True, eq=False)
class Seen:
    """The photograph on the chart, linear.

    Attributes:
        colour_13hw: 0 where nothing is seen; of the avatar's size.
        weight_11hw: in [0, 1]: 0 where the texel is hidden, grazing, clipped or not skin.
        small_colour_13hw, small_weight_11hw: their means on ``BASE`` x ``BASE`` texels.
    """

    colour_13hw: Tensor
    weight_11hw: Tensor
    small_colour_13hw: Tensor
    small_weight_11hw: Tensor


def auto_size(head: Head, mesh_1v3: Tensor, camera: Camera) -> int:
    """The smallest of :data:`SIZES` that holds the photograph's detail; ``camera``: pixels of the photograph."""
    needed = 128 * density(head, mesh_1v3, camera, 128)
    return next((size for size in SIZES if size >= 0.8 * needed), SIZES[-1])


@torch.no_grad()
def look(head: Head, portrait: Portrait, mesh_1v3: Tensor, crop_camera: Camera, size: int | None) -> Seen:
    """Unwrap the photograph; ``size`` None chooses it by :func:`auto_size`."""
    camera = transform_image(crop_camera, torch.linalg.inv(portrait.to_crop_133))
    size = size or auto_size(head, mesh_1v3, camera)
    left, top, right, bottom = _box(project(camera, mesh_1v3)[0], portrait.width, portrait.height)
    picture = _picture(portrait, left, top, (bottom - top, right - left)).to(mesh_1v3.dtype)
    move = torch.eye(3, device=mesh_1v3.device, dtype=mesh_1v3.dtype)
    move[:2, 2] = -move.new_tensor([left, top])
    texture, facing = unwrap(picture, head, mesh_1v3, transform_image(camera, move), size)
    weight = facing * ((texture[:, 3:4] - 0.6) / 0.35).clamp(0.0, 1.0)
    colour = texture[:, :3] * (weight > 0)
    small_weight, small_colour = _small(colour, weight)
    framed = (facing - weight).clamp_min(0.0) * (texture[:, 4:] > _FRAMED)
    if bool(framed.any()):
        colour, weight = _continued(colour, weight, framed, small_colour, small_weight)
        small_weight, small_colour = _small(colour, weight)
    return Seen(colour, weight, small_colour, small_weight)


def _small(colour_13hw: Tensor, weight_11hw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean weights and colours on ``BASE`` x ``BASE`` texels."""
    weight = interpolate(weight_11hw, size=(BASE, BASE), mode="area")
    return weight, interpolate(colour_13hw * weight_11hw, size=(BASE, BASE), mode="area") / weight.clamp_min(1e-6)


def _continued(
    colour_13hw: Tensor, weight_11hw: Tensor, framed_11hw: Tensor, small_colour_13nn: Tensor, small_weight_11nn: Tensor
) -> tuple[Tensor, Tensor]:
    """Colours and weights in which the skin goes on smoothly below frames of glasses.

    They are thin: what is beside them says more of the skin below than its mirror image or the average skin.
    """
    below = resized(pull_push(small_colour_13nn * small_weight_11nn, small_weight_11nn), colour_13hw)
    whole = weight_11hw + framed_11hw
    return torch.lerp(below, colour_13hw, weight_11hw / whole.clamp_min(1e-6)) * (whole > 0), whole


def _box(pixel_v2: Tensor, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels that show the head, at least one."""
    low, high = pixel_v2.amin(dim=0).tolist(), pixel_v2.amax(dim=0).tolist()
    left, top = (min(max(math.floor(x) - 4, 0), n - 1) for x, n in zip(low, (width, height), strict=True))
    right, bottom = (min(max(math.ceil(x) + 4, 1), n) for x, n in zip(high, (width, height), strict=True))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _picture(portrait: Portrait, left: int, top: int, size: tuple[int, int]) -> Tensor:
    """Linear colour, usable skin and frames of glasses (1, 5, h, w) of a box.

    In bands, because large photographs take gigabytes.
    """
    cloth = share(portrait.classes_1khw, "cloth")
    skin = 1.0 - _grown(1.0 - share(portrait.classes_1khw, *SKIN), _RIM)
    skin = skin * (1.0 - _grown(cloth, _CLOTH_RIM))
    framed = frames(portrait.crop_13hw, portrait.classes_1khw, portrait.landmarks_1n2)
    skin = skin * (1.0 - framed)
    framed = framed * share(portrait.classes_1khw, *SKIN, "glasses")  # arms over hair have no skin below
    picture = skin.new_empty(1, 5, *size)
    rows = max(1, _BAND // size[1])
    for first in range(0, size[0], rows):
        band = portrait.photograph_hw3[top + first : top + min(first + rows, size[0]), left : left + size[1]]
        pixels = band.permute(2, 0, 1)[None].to(picture.dtype)
        here = slice(first, first + pixels.shape[2])
        picture[:, :3, here] = to_linear(pixels / 255.0)
        usable = _inside(portrait, skin, left, top + first, (pixels.shape[2], size[1]))
        picture[:, 3:4, here] = usable * (1.0 - _unusable(pixels))
        picture[:, 4:, here] = _inside(portrait, framed, left, top + first, (pixels.shape[2], size[1]))
    return picture


def _grown(mask_11hw: Tensor, width: float) -> Tensor:
    """The mask, wider on all sides by a share of the picture's side."""
    side = 2 * max(1, round(width * mask_11hw.shape[-1])) + 1
    return max_pool2d(mask_11hw, side, stride=1, padding=side // 2)


def _inside(portrait: Portrait, skin: Tensor, left: int, top: int, size: tuple[int, int]) -> Tensor:
    """``skin`` of the crop at the pixels of a box of the photograph (1, 1, h, w)."""
    scale, shift = portrait.to_crop_133[0, 0, 0], portrait.to_crop_133[0, :2, 2]
    x = (torch.arange(size[1], device=skin.device) + left + 0.5) * scale + shift[0]
    y = (torch.arange(size[0], device=skin.device) + top + 0.5) * scale + shift[1]
    at = torch.stack([x.expand(*size), y[:, None].expand(*size)], dim=-1)[None] * 2 / skin.shape[-1] - 1
    return grid_sample(skin, at.to(skin.dtype), padding_mode="zeros", align_corners=False)


def _unusable(pixels_13hw: Tensor) -> Tensor:
    """1 where a pixel (0 to 255) is clipped or black."""
    ordered = pixels_13hw.sort(dim=1).values
    return ((ordered[:, 2:] >= _CLIPPED) | (ordered[:, 2:] <= _BLACK)).to(pixels_13hw.dtype)
