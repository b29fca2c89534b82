"""What a photograph tells of its light apart from the skin: whites of the eyes, teeth, the rest of the picture.

Colours are linear RGB. Shapes: h w pixels of the crop.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from mosar.models.colour import LUMINANCE, to_linear
from mosar.models.face_classes import share
from mosar.models.reconstruct.estimate import Portrait
from mosar.models.reconstruct.tone import Cue

IRISES = ((468, (469, 470, 471, 472)), (473, (474, 475, 476, 477)))
"""Centre and outline of the irises among the detector's points: the subject's right, then left."""

USUAL = Cue("exposure", 0.20, 0.45)
"""The light on a face as cameras usually expose it."""
_SCLERA, _SCLERA_DEVIATION = 0.42, 0.35  # albedo times the shade of lids and lashes
_TEETH, _TEETH_DEVIATION = 0.42, 0.40
_WHITE, _WHITE_DEVIATION = 0.80, 0.60  # albedo of the brightest things around
_LEAST_PIXELS = 12
THUMBNAIL = 64
"""Pixels a side of ``Portrait.thumbnail_13tt``."""


def light_cues(portrait: Portrait) -> list[Cue]:
    """All cues that this photograph has; the usual exposure is always among them."""
    found = [USUAL]
    for name, (colour, _), albedo, deviation in (
        ("sclera", sclera_colour(portrait), _SCLERA, _SCLERA_DEVIATION),
        ("teeth", teeth_colour(portrait), _TEETH, _TEETH_DEVIATION),
    ):
        if colour is not None:
            found.append(Cue(name, math.log(max(_luminance(colour), 1e-3) / albedo), deviation))
    return [*found, Cue("surroundings", math.log(max(_white(portrait), 1e-3) / _WHITE), _WHITE_DEVIATION)]


def sclera_colour(portrait: Portrait) -> tuple[Tensor | None, float]:
    """Mean colour (3) of the brighter half of the visible whites of both eyes, and their pixels in the photograph.

    The colour is None if too little is visible.
    """
    eyes = share(portrait.classes_1khw, "eyes")[0, 0] > 0.5
    y, x = _grid(eyes)
    white = _eroded(eyes, 2)
    for centre, ring in IRISES:
        middle = portrait.landmarks_1n2[0, centre]
        radius = (portrait.landmarks_1n2[0, list(ring)] - middle).norm(dim=1).mean()
        white &= (x - middle[0]) ** 2 + (y - middle[1]) ** 2 > (1.2 * radius) ** 2
    return _brighter(to_linear(portrait.crop_13hw)[0][:, white], portrait)


def teeth_colour(portrait: Portrait) -> tuple[Tensor | None, float]:
    """Mean colour (3) of the teeth, and from how many pixels of the photograph.

    None if the mouth shows too few pixels that are bright and not red. Without colours, teeth cannot be told from gums
    and tongue.
    """
    if portrait.colourless:
        return None, 0.0
    inside = _eroded(share(portrait.classes_1khw, "mouth")[0, 0] > 0.5, 2)
    colour = to_linear(portrait.crop_13hw)[0][:, inside]
    if colour.shape[1] < _LEAST_PIXELS:
        return None, 0.0
    # Teeth are white among red: gums, tongue and lips reflect more than twice as much red as blue.
    pale = colour[0] < 1.7 * colour[2].clamp_min(1e-4)
    return _brighter(colour[:, pale], portrait) if float(pale.double().mean()) > 0.25 else (None, 0.0)


def _brighter(colour_3n: Tensor, portrait: Portrait) -> tuple[Tensor | None, float]:
    """Mean of the brighter half of these pixels of the crop."""
    colour_3n = colour_3n[:, colour_3n.amin(dim=0) < 0.95]  # clipped pixels are reflections of lamps
    if colour_3n.shape[1] < _LEAST_PIXELS:
        return None, 0.0
    luminance = colour_3n.new_tensor(LUMINANCE) @ colour_3n
    low, high = luminance.quantile(0.5), luminance.quantile(0.95)
    kept = colour_3n[:, (luminance >= low) & (luminance <= high)]
    return kept.mean(dim=1), kept.shape[1] / float(portrait.to_crop_133[0, 0, 0]) ** 2


def _white(portrait: Portrait) -> float:
    """Luminance of the brightest fiftieth of the scene, in a thumbnail: single lamps and reflections do not count."""
    small = portrait.thumbnail_13tt
    luminance = to_linear(small)[0].flatten(1).T @ small.new_tensor(LUMINANCE)
    return float(luminance.quantile(0.98))


def thumbnail(picture_hw3: Tensor, side: int) -> Tensor:
    """Mean colours (1, 3, side, side) in [0, 1]; row by row, because floats of a whole photograph take gigabytes."""
    height = len(picture_hw3)
    rows = [picture_hw3[i * height // side : -(-(i + 1) * height // side)] for i in range(side)]
    floats = (row.permute(2, 0, 1)[None].float() / 255.0 for row in rows)
    return torch.cat([interpolate(row, size=(1, side), mode="area") for row in floats], dim=2)


def _luminance(colour_3: Tensor) -> float:
    return float(colour_3 @ colour_3.new_tensor(LUMINANCE))


def _eroded(mask_hw: Tensor, pixels: int) -> Tensor:
    side = 2 * pixels + 1
    return avg_pool2d(mask_hw[None, None].float(), side, stride=1, padding=pixels, count_include_pad=True)[0, 0] > 0.999


def _grid(like_hw: Tensor) -> tuple[Tensor, Tensor]:
    rows, columns = (torch.arange(n, device=like_hw.device) + 0.5 for n in like_hw.shape)
    return rows[:, None], columns[None]
