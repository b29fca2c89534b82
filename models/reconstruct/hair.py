"""The scalp: short-cropped hair in the person's colour behind a natural hairline.

Hair itself is not reconstructed. Legend: t texels a side of the maps, h w pixels of the crop.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor

from mosar.models.camera import Camera
from mosar.models.colour import to_linear
from mosar.models.face_classes import SKIN, share
from mosar.models.head import Head, vertex_normals
from mosar.models.losses import resized
from mosar.models.rasterizer import covered, gather, rasterize, scatter
from mosar.models.reconstruct.estimate import Estimate
from mosar.models.reconstruct.smooth import blur, noise, smoothstep
from mosar.models.uv import chart, texels_of
from mosar.models.uv import interpolate as at_texels

_LEAST_PIXELS = 150
_OPAQUE = 0.88  # coverage of the skin by short-cropped hair
_LINE = (0.40, 0.80)  # of the blurred scalp: where hair starts to grow, and where it is dense
_SOFT = 7.0  # texels of the hairline's blur, of 512
_BARE = (0.40, 0.60)  # blurred share of texels that are not seen as skin: where the scalp is bare, where it has hair
_HALF = 0.5  # coverage above which a texel counts as hair when pieces are told apart
_DARKEST, _BRIGHTEST = 0.012, 0.5  # luminance of hair albedo
_HUE, _SHADED = 0.22, (-0.75, 1.1)  # logarithms of ratios to the usual colour of skin that may still be skin
_BALD, _FULL = 0.08, 0.28  # shares of the visible scalp that hair covers


@dataclass(frozen=True, eq=False)
class Hair:
    """Albedo of a person's hair, linear (3), and how much of the scalp it covers, in [0, 1]."""

    albedo_3: Tensor
    amount: float


def find_hair(estimate: Estimate) -> Hair:
    """The hair that the photograph shows around the face.

    That is what the segmentation calls hair, and where the scalp of the fitted head lies in the picture whatever is
    neither called skin nor has its colour.
    """
    portrait, fit = estimate.portrait, estimate.fit
    colour = to_linear(portrait.crop_13hw)[0]
    scalp = _visible_scalp(estimate.head, fit.mesh_1v3, fit.camera, (colour.shape[1], colour.shape[2]))
    scalp &= portrait.inside_11hw[0, 0] > 0.5
    classes = portrait.classes_1khw
    other = share(classes, "headwear", "hand", "glasses", "cloth")[0, 0] > 0.5
    shading = estimate.lighting.shading_b3hw
    at = (chart(estimate.head, shading.shape[-1]).triangle_hw >= 0).to(shading.device)
    upper = torch.zeros_like(at)
    upper[: shading.shape[-1] // 4] = True
    light = shading[0][:, at & upper].mean(dim=1)
    skin = torch.tensor(estimate.tone.albedo_3).to(light) * light
    alike = _alike(colour, skin)
    named = (share(classes, "scalp_hair")[0, 0] > 0.5) & ~other
    skinlike = alike | (share(classes, *SKIN)[0, 0] > 0.5)
    hair = named | (scalp & ~skinlike & ~other)
    visible = int((scalp & ~other).sum())
    covered_by = int((hair & scalp).sum()) / max(visible, 1)
    # Under a hat, or what is mistaken for one, is hair.
    hidden = visible < max(_LEAST_PIXELS, 0.5 * int(scalp.sum()))
    amount = 1.0 if hidden else min(max((covered_by - _BALD) / (_FULL - _BALD), 0.0), 1.0)
    if int(hair.sum()) < _LEAST_PIXELS:
        return Hair(0.25 * torch.tensor(estimate.tone.albedo_3).to(light), amount)
    albedo = colour[:, hair].median(dim=1).values / light
    luminance = albedo.mean().clamp_min(1e-4)
    return Hair(albedo * (luminance.clamp(_DARKEST, _BRIGHTEST) / luminance), amount)


def crop_hair(head: Head, diffuse_13tt: Tensor, known_11tt: Tensor, hair: Hair, generator: torch.Generator) -> Tensor:
    """The albedo with hair on the scalp, where the photograph shows skin with less than half weight.

    Hair is one piece, or the few that reach the back of the head.
    """
    size = diffuse_13tt.shape[-1]
    base = min(size, 512)
    line = _density(head, base, generator).to(diffuse_13tt)
    grown = resized(_without_islands(head, line * _hidden(resized(known_11tt, line))), diffuse_13tt)
    strands = noise(size, size / 400, generator) * 0.5 + noise(size, size / 160, generator) * 0.3
    strands = strands.to(diffuse_13tt)
    cover = (grown * hair.amount * (_OPAQUE + 0.10 * strands)).clamp(0.0, 1.0)
    shade = (1.0 + 0.22 * strands).clamp_min(0.2)
    return torch.lerp(diffuse_13tt, hair.albedo_3.to(diffuse_13tt)[None, :, None, None] * shade, cover)


def _alike(colour_3hw: Tensor, skin_3: Tensor) -> Tensor:
    """Pixels (h, w), bool, that may be skin, lit or shaded: grey hair has another hue, and brown hair is darker."""
    ratio = (colour_3hw.clamp_min(1e-3) / skin_3[:, None, None]).log()
    hue = torch.stack([ratio[0] - ratio[1], ratio[1] - ratio[2]]).abs().amax(dim=0)
    return (hue < _HUE) & (ratio[1] > _SHADED[0]) & (ratio[1] < _SHADED[1])


def _density(head: Head, size: int, generator: torch.Generator) -> Tensor:
    """Coverage of the chart by hair (1, 1, t, t): 0 on the face, 1 on the scalp, ragged between."""
    scalp_v = torch.tensor(head.region("scalp")).float()
    texels, sigma = chart(head, size), _SOFT * size / 512
    member = at_texels(texels, torch.tensor(head.triangles_f3), scalp_v[None, :, None])
    inside = (texels.triangle_hw >= 0).to(member)[None, None]
    soft = blur(member, sigma) / blur(inside, sigma).clamp_min(0.1)  # the border of the chart is no hairline
    ragged = soft + 0.10 * noise(size, size / 40, generator) + 0.10 * noise(size, size / 160, generator)
    return smoothstep(ragged, _LINE) * (soft > 0.02)


def _hidden(known_11tt: Tensor) -> Tensor:
    """Where the photograph does not show skin (1, 1, t, t), with a smooth outline, though strands are ragged."""
    return smoothstep(blur(1.0 - known_11tt, _SOFT * known_11tt.shape[-1] / 512), _BARE)


def _without_islands(head: Head, cover_11tt: Tensor) -> Tensor:
    """The coverage of the pieces that reach the back of the head; of the largest piece where none does."""
    size = cover_11tt.shape[-1]
    triangles = torch.tensor(head.triangles_f3)
    back = vertex_normals(torch.tensor(head.template_v3)[None], triangles)[0, :, 2] < 0
    behind_hw = texels_of(head, back.numpy() & head.region("scalp"), size).numpy()
    islands_hw, _ = label(cover_11tt[0, 0].cpu().numpy() > _HALF)
    kept_n = np.setdiff1d(np.unique(islands_hw[behind_hw]), [0])
    if not len(kept_n):
        kept_n = np.array([1 + np.bincount(islands_hw.ravel(), minlength=2)[1:].argmax()])
    connected_hw = np.isin(islands_hw, kept_n)
    kept = blur(torch.from_numpy(connected_hw)[None, None].to(cover_11tt), _SOFT * size / 512)
    return cover_11tt * (2.0 * kept).clamp_max(1.0)


def _visible_scalp(head: Head, mesh_1v3: Tensor, camera: Camera, size: tuple[int, int]) -> Tensor:
    """Pixels (h, w), bool, where the head's scalp is in front."""
    triangles = torch.tensor(head.triangles_f3).to(mesh_1v3.device)
    visible = covered(rasterize(mesh_1v3, triangles, camera, size), len(triangles))
    scalp_v = torch.tensor(head.region("scalp")).to(mesh_1v3)
    values = gather(visible, triangles, scalp_v[None, :, None])
    return scatter(visible, values, (1, *size))[0, 0] > 0.9
