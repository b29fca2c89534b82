"""Albedo of eyes and teeth as the photograph shows them: the head's own maps, recoloured.

What is measured is albedo times the shade of lids, lashes and lips. The avatar's rendering does not shade eyes and
teeth by them, so their maps contain this shade: on the eyes by the shape of the lids, on the teeth by their depth.
Colours are linear RGB. Shapes: h w pixels of the crop, s texels a side of the map.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from mosar.models.colour import to_linear, to_srgb
from mosar.models.face_classes import share
from mosar.models.head import Head
from mosar.models.losses import resized
from mosar.models.reconstruct.cues import IRISES, sclera_colour, teeth_colour
from mosar.models.reconstruct.estimate import Estimate, Portrait
from mosar.models.reconstruct.lid_shade import lid_shade
from mosar.models.reconstruct.smooth import smoothstep
from mosar.models.uv import chart_of
from mosar.models.uv import interpolate as at_texels

Bytes = npt.NDArray[np.uint8]

_SCLERA = (0.33, 0.28, 0.25)  # usual albedos, with their shade: medians of 36 portraits (not those of evaluations)
_IRIS = (0.050, 0.033, 0.024)
_TEETH = (0.40, 0.35, 0.27)
_TEXELS = 64  # a side of the map of their shade
_BEHIND_MM, _DEEP = (4.0, 16.0), 0.08  # behind the incisors light falls to this share
_GUMS = 0.7  # shade of lips and teeth on gums and tongue
_CORNEA = 0.02  # share of the light that the cornea reflects: it lies over the iris in the photograph
_PIXELS = 14.0  # of the photograph: with as many pixels the measurement counts as much as the usual albedo
_IRIS_MM = 5.9
_BALANCE = 0.25  # strongest tint of the whites of eyes and of teeth: logarithm of a ratio of channels
_WHITE = (0.16, 0.34)  # luminance in the head's maps: below is iris or gum, above is sclera or tooth


def eyes_map(estimate: Estimate) -> Bytes:
    """The head's map of the eyes with the person's sclera and iris (s, s, 3), sRGB."""
    portrait = estimate.portrait
    light = _light(estimate)
    base = _linear(estimate.head.eyes_albedo_hw3).to(light)
    white = _white(base)
    white_seen, white_count = sclera_colour(portrait)
    sclera = _blended(white_seen, light, _SCLERA, white_count)
    iris_seen, count = iris_colour(portrait)
    if iris_seen is not None:
        iris_seen = torch.maximum(iris_seen - _CORNEA * light, 0.25 * iris_seen)
    iris = _blended(iris_seen, light, _IRIS, count, tint=1.5)
    base = _scaled_iris(base, white, _iris_scale(estimate))
    white = _white(base)
    pupil = (base.mean(dim=1, keepdim=True) / 0.02).clamp(0, 1)
    inner = (1 - white) * pupil
    found = base * (_ratio(sclera, base, white) * white + _ratio(iris, base, inner) * (1 - white))
    return _bytes(found * resized(lid_shade(estimate.head, estimate.fit.mesh_1v3), found))


def mouth_map(estimate: Estimate) -> Bytes:
    """The head's map of teeth and tongue with the person's teeth (s, s, 3), sRGB."""
    light = _light(estimate)
    base = _linear(estimate.head.mouth_albedo_hw3).to(light)
    pale = ((base[:, 2:] / base[:, :1] - 0.45) / 0.15).clamp(0, 1)
    seen, count = teeth_colour(estimate.portrait)
    teeth = _blended(seen, light, _TEETH, count)
    found = base * (_ratio(teeth, base, pale) * pale + _GUMS * (1 - pale))
    return _bytes(found * resized(_depth_shade(estimate.head).to(found), found))


@lru_cache(maxsize=4)
def _depth_shade(head: Head) -> Tensor:
    """Light (1, 1, s, s) that reaches teeth and tongue through the lips: the less, the farther behind the incisors."""
    # Upper and lower teeth share texels, and have the same depth there.
    depth = chart_of(head, _TEXELS, head.material_f == head.material_names.index("mouth"))
    z = at_texels(depth, torch.tensor(head.triangles_f3), torch.tensor(head.template_v3)[None, :, 2:])
    inside = (depth.triangle_hw >= 0)[None, None]
    behind = torch.where(inside, z[inside].max() - z, 0.0)
    return 1.0 - (1.0 - _DEEP) * smoothstep(behind, _BEHIND_MM)


def iris_colour(portrait: Portrait) -> tuple[Tensor | None, float]:
    """Median colour (3) of both irises without pupils and reflections, and from how many pixels of the photograph."""
    eyes = share(portrait.classes_1khw, "eyes")[0, 0] > 0.5
    colour = to_linear(portrait.crop_13hw)[0]
    rows, columns = (torch.arange(n, device=colour.device) + 0.5 for n in colour.shape[1:])
    parts = []
    for centre, ring in IRISES:
        middle = portrait.landmarks_1n2[0, centre]
        radius = (portrait.landmarks_1n2[0, list(ring)] - middle).norm(dim=1).mean()
        off = ((rows[:, None] - middle[1]) ** 2 + (columns[None] - middle[0]) ** 2).sqrt() / radius
        # The lower part: the upper lid and its lashes shade the upper one.
        part = eyes & (off > 0.45) & (off < 0.85) & (rows[:, None] > middle[1] - 0.35 * radius)
        parts.append(colour[:, part])
    seen = torch.cat(parts, dim=1)
    if seen.shape[1] < 6:
        return None, 0.0
    luminance = seen.mean(dim=0)
    kept = seen[:, luminance <= luminance.quantile(0.75)]
    return kept.median(dim=1).values, kept.shape[1] / float(portrait.to_crop_133[0, 0, 0]) ** 2


def _iris_scale(estimate: Estimate) -> float:
    """Size of the irises over the usual one."""
    portrait, camera = estimate.portrait, estimate.fit.camera
    sizes = []
    for centre, ring in IRISES:
        points = portrait.landmarks_1n2[0]
        sizes.append(float((points[list(ring)] - points[centre]).norm(dim=1).mean()))
    millimetres = np.mean(sizes) * float(camera.translation_b3[0, 2]) / float(camera.intrinsics_b33[0, 0, 0])
    # Irises hardly differ in size, and a detector's circle is uncertain: half of the difference is believed.
    return float(np.clip(0.5 + 0.5 * millimetres / _IRIS_MM, 0.9, 1.1))


def _light(estimate: Estimate) -> Tensor:
    """Mean irradiance / pi (3) of the front of the face, from where the eyes look."""
    skin, shading = estimate.surface, estimate.lighting.shading_b3hw
    front = (skin.normal_b3hw[0, 2] > 0.9) & (estimate.seen.small_weight_11hw[0, 0] > 0.5)
    front = front if bool(front.any()) else skin.normal_b3hw[0, 2] > 0.9
    return shading[0][:, front].mean(dim=1)


def _blended(
    seen_3: Tensor | None, light_3: Tensor, usual: tuple[float, float, float], pixels: float, tint: float = _BALANCE
) -> Tensor:
    """Albedo (3): the measured one, the nearer to the usual one the fewer pixels it was measured on."""
    prior = light_3.new_tensor(usual).log()
    if seen_3 is None:
        return prior.exp()
    found = (seen_3 / light_3).clamp_min(5e-3).log() - prior
    level = found.mean().clamp(-0.9, 0.9)
    found = level + (found - level).clamp(-tint, tint)
    return (prior + found * pixels / (pixels + _PIXELS)).exp().clamp_max(0.85)


def _ratio(wanted_3: Tensor, base_13ss: Tensor, weight_11ss: Tensor) -> Tensor:
    mean = (base_13ss * weight_11ss).sum(dim=(2, 3)) / weight_11ss.sum(dim=(2, 3)).clamp_min(1e-6)
    return (wanted_3 / mean.clamp_min(1e-3))[..., None, None]


def _white(base_13ss: Tensor) -> Tensor:
    return smoothstep(base_13ss.mean(dim=1, keepdim=True), _WHITE)


def _scaled_iris(base_13ss: Tensor, white_11ss: Tensor, scale: float) -> Tensor:
    """The map with its iris larger or smaller by ``scale``; the rim of the eyeball stays."""
    size = base_13ss.shape[-1]
    axis = (torch.arange(size, device=base_13ss.device, dtype=base_13ss.dtype) + 0.5) / size * 2 - 1
    y, x = axis[:, None].expand(size, size), axis[None].expand(size, size)
    dark = 1 - white_11ss[0, 0]
    mass = dark.sum().clamp_min(1e-6)
    cx, cy = (dark * x).sum() / mass, (dark * y).sum() / mass
    off = ((x - cx) ** 2 + (y - cy) ** 2).sqrt()
    edge = (dark * off).sum() / mass * 1.5  # the mean distance within a disc is two thirds of its radius
    # Inside twice the iris' radius distances are divided by the scale, the less the farther out.
    inner = (1 - ((off / edge - 1) / 1.0).clamp(0, 1)) * (1 / scale - 1) + 1
    at = torch.stack([cx + (x - cx) * inner, cy + (y - cy) * inner], dim=-1)[None]
    return grid_sample(base_13ss, at, padding_mode="border", align_corners=False)


def _linear(array: Bytes) -> Tensor:
    return to_linear(torch.tensor(array).permute(2, 0, 1)[None] / 255.0)


def _bytes(linear_13ss: Tensor) -> Bytes:
    found: Bytes = (to_srgb(linear_13ss[0].clamp(0, 1)) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return found
