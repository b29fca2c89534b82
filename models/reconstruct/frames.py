"""Frames of glasses, whole: followed as lines from the parts that the segmentation finds.

Thin wires, rims that reflect, and arms beyond the part around the eyes get low probabilities; all of them are lines
that continue what is found. Shapes: h w pixels of the crop, n the detector's points.
"""

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor
from torch.nn.functional import max_pool2d

from mosar.models.face_classes import CLASSES, share
from mosar.models.face_outlines import LEFT_EYE, RIGHT_EYE

WORN = 0.003
"""Least share of the pixels near the eyes, classed as glasses, of somebody whose frames are followed.

Of the captures of ``eval-v2`` 75 of 75 with glasses have more, and 3 of 141 without. It is lower than the threshold
that tells best who wears glasses: frames that stay on the skin are worse than skin that is filled.
"""
NEAR = 0.5
"""How far "near the eyes" reaches from the line between them, in distances of the eyes: just beyond large frames."""

_GLASSES = CLASSES.index("glasses")
_SURE = 0.4  # probability of what needs no line to be seen
# Least probability and contrast (difference in logarithms) of what is followed if it is a line:
_POSSIBLE, _DISTINCT = (0.12, 0.14), (0.03, 0.4)
_ARM_CONTRAST = 0.2  # of an arm with what is beside it
_BLACK = 0.55  # contrast of lines that are no brows
_BROW = 0.2  # probability of brows that no line crosses: they stay
_DARK = 0.05  # keeps logarithms of dark colours finite
# In distances of the eyes:
_LINE, _ARM = 0.05, 0.11  # half widths of the widest lines
_BESIDE = 0.02  # how far a line may lie beside what is possible
_EDGE = 0.01  # around all that is found: pixels that show the frame in part
_GAP = 0.01  # half of the gaps that are bridged
_BAND = 0.16  # half width of the band in which an arm is looked for

# The detector's points at the sides of the face, where arms end, and at the forehead and the chin.
_SIDES, _TOP, _BOTTOM = (127, 356), 10, 152
_ARM_FROM, _ARM_TO, _ARM_UP = 0.75, 1.3, 0.18  # ends on the way from the eye to the side, and how far above it


def share_near_eyes(classes_hw: Tensor, landmarks_n2: Tensor) -> float:
    """Share of the pixels near the eyes that are classed as glasses; landmarks in pixels of the crop."""
    left, right = _eyes(landmarks_n2)
    near = _distance(classes_hw, left, right) < NEAR * (right - left).norm()
    return float((classes_hw[near] == _GLASSES).float().mean()) if bool(near.any()) else 0.0


@torch.no_grad()
def frames(crop_13hw: Tensor, classes_1khw: Tensor, landmarks_1n2: Tensor) -> Tensor:
    """Mask (1, 1, h, w) of the pixels that frames may cover, 1 or 0; empty for somebody who wears none.

    Args:
        crop_13hw: sRGB-encoded in [0, 1].
        classes_1khw: probabilities of :data:`~mosar.models.face_classes.CLASSES`.
        landmarks_1n2: the detector's points, pixels of the crop.
    """
    glasses, points = share(classes_1khw, "glasses"), landmarks_1n2[0]
    if share_near_eyes(classes_1khw[0].argmax(dim=0), points) < WORN:
        return torch.zeros_like(glasses)
    left, right = _eyes(points)
    distance = (right - left).norm()

    def pixels(width: float) -> int:
        return max(1, round(width * float(distance)))

    brightness = (crop_13hw.mean(dim=1, keepdim=True) + _DARK).log()
    contrast = _contrast(brightness, pixels(_LINE))

    def lines_of(probability: float, least: float) -> Tensor:
        return (_grown((glasses > probability).to(glasses), pixels(_BESIDE)) > 0) & (contrast > least)

    band = _arms(glasses[0, 0], points)
    brows = (share(classes_1khw, "brows") > _BROW) & (glasses < _SURE) & ~band & (contrast < _BLACK)
    rims = lines_of(*_POSSIBLE) | lines_of(*_DISTINCT)
    arms = band & (_contrast(brightness, pixels(_ARM)) > _ARM_CONTRAST)
    lines = _grown((rims | arms).to(glasses), pixels(_EDGE))
    allowed = torch.maximum((glasses > _SURE).to(glasses), lines) * ~brows
    found = (glasses > 0.5).to(glasses)
    return _grown(_connected(found, allowed, pixels(_GAP)), pixels(_EDGE)) * ~brows


def _connected(some_11hw: Tensor, all_11hw: Tensor, gap: int) -> Tensor:
    """The parts of the mask ``all`` that hang together with ``some`` of it."""
    labels, _ = label((_grown(all_11hw, gap) > 0)[0, 0].cpu().numpy(), structure=np.ones((3, 3)))
    labels = torch.from_numpy(labels).to(some_11hw.device)[None, None]
    begun = labels[(some_11hw > 0) & (labels > 0)].unique()
    return torch.maximum(some_11hw, all_11hw * torch.isin(labels, begun))


def _contrast(map_11hw: Tensor, radius: int) -> Tensor:
    """How much darker or brighter than what is beside it a spot or line of at most twice the radius is."""
    closed = -_grown(-_grown(map_11hw, radius), radius)
    opened = _grown(-_grown(-map_11hw, radius), radius)
    return torch.maximum(closed - map_11hw, map_11hw - opened)


def _arms(like_hw: Tensor, points_n2: Tensor) -> Tensor:
    """Mask of the bands from beside the eyes to the ears."""
    eyes = _eyes(points_n2)
    distance = (eyes[1] - eyes[0]).norm()
    upright = points_n2[_TOP] - points_n2[_BOTTOM]
    up = _ARM_UP * distance * upright / upright.norm().clamp_min(1e-6)
    found = torch.zeros_like(like_hw, dtype=torch.bool)
    for eye, side in zip(eyes, _SIDES, strict=True):
        way = points_n2[side] - eye
        found |= _distance(like_hw, eye + _ARM_FROM * way + up, eye + _ARM_TO * (way + up)) < _BAND * distance
    return found


def _eyes(points_n2: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (2) of the outlines of the eyes: the one at the left of an upright picture first."""
    left, right = (points_n2[list(outline), :2].mean(dim=0) for outline in (RIGHT_EYE, LEFT_EYE))
    return left, right


def _distance(like_hw: Tensor, start_2: Tensor, end_2: Tensor) -> Tensor:
    """Distance (h, w) of each pixel from a segment."""
    y, x = (torch.arange(n, device=start_2.device, dtype=start_2.dtype) + 0.5 for n in like_hw.shape)
    offset = torch.stack([x.expand(*like_hw.shape), y[:, None].expand(*like_hw.shape)], dim=-1) - start_2
    span = end_2 - start_2
    along = (offset @ span / (span @ span).clamp_min(1e-9)).clamp(0.0, 1.0)
    return (offset - along[..., None] * span).norm(dim=-1)


def _grown(mask_11hw: Tensor, radius: int) -> Tensor:
    side = 2 * radius + 1
    tall = max_pool2d(mask_11hw, (side, 1), stride=1, padding=(radius, 0))
    return max_pool2d(tall, (1, side), stride=1, padding=(0, radius))
