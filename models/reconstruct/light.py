"""Look at the photograph: unwrap it, and find the light, the person's low-rank albedo and the tone, each in turn.

Legend: t texels a side of the coarse reflectance texture, n its texels that are seen, k reflectance codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from mosar.models.camera import position, views
from mosar.models.colour import to_srgb
from mosar.models.head import Head, occlusion, vertex_normals
from mosar.models.morphable.network import Morphable
from mosar.models.reconstruct.cues import light_cues
from mosar.models.reconstruct.estimate import Estimate
from mosar.models.reconstruct.light_estimation import solve_light
from mosar.models.reconstruct.not_skin import without_collars, without_fringe
from mosar.models.reconstruct.seen import BASE, Seen, look
from mosar.models.reconstruct.tone import Tone, estimate_tone, shared
from mosar.models.shading import Material, irradiance, shade
from mosar.models.texture_space.lighting import DARKEST, SPECULAR, lighting
from mosar.models.uv import chart, surface
from mosar.models.uv import interpolate as at_texels

_ROUNDS = 3
_NOISE = 0.06  # deviation of sRGB-encoded colours from the low-rank albedo
_INDEPENDENT = 150.0  # effective number of independent texels: errors are correlated over large patches
_LEAST = 60  # seen texels below which the usual light is kept


@dataclass(frozen=True, eq=False)
class Texels:
    """Seen texels: place in the chart, colour, normal, view, occlusion, weight; whether they are bare facial skin."""

    index: Tensor
    colour_1n3: Tensor
    normal_1n3: Tensor
    view_1n3: Tensor
    ao_1n1: Tensor
    weight_n: Tensor
    spot_n: Tensor


@dataclass(frozen=True, eq=False)
class Explanation:
    """What explains the seen texels: light (1, 81, 3), reflectance codes (1, k) and tone."""

    light_1lc: Tensor
    code_1k: Tensor
    tone: Tone


@torch.no_grad()
def see(estimates: Sequence[Estimate], morphable: Morphable) -> list[Estimate]:
    """Add the surface, what is seen, the light, and the tone, which all photographs of a person share."""
    looked = [_looked(estimate) for estimate in estimates]
    size = morphable.config.texture_size
    found = [explain(e, morphable, seen_texels(e, size, e.seen, e.ao_11hw)) for e in looked]
    return [_lit(e, each) for e, each in zip(looked, _of_one_person(looked, found), strict=True)]


def _looked(estimate: Estimate) -> Estimate:
    head, fit = estimate.head, estimate.fit
    return replace(
        estimate,
        surface=surface(chart(head, BASE), head, fit.mesh_1v3),
        ao_11hw=open_texels(head, fit.mesh_1v3),
        seen=look(head, estimate.portrait, fit.mesh_1v3, fit.camera, estimate.settings.size),
    )


def _of_one_person(looked: Sequence[Estimate], found: Sequence[Explanation]) -> list[Explanation]:
    """The same explanations with one tone; each light takes what the tone gives or takes."""
    if len(found) == 1:
        return list(found)
    tone = shared([each.tone for each in found], [estimate.portrait.colourless for estimate in looked])
    gains = [each.light_1lc.new_tensor(each.tone.albedo_3) / each.light_1lc.new_tensor(tone.albedo_3) for each in found]
    return [replace(each, light_1lc=each.light_1lc * gain, tone=tone) for each, gain in zip(found, gains, strict=True)]


def _lit(estimate: Estimate, found: Explanation) -> Estimate:
    light, tone, seen = found.light_1lc, found.tone, estimate.seen
    lit = lighting(light, estimate.surface, position(estimate.fit.camera), estimate.ao_11hw)
    if not estimate.portrait.colourless:
        seen = without_collars(estimate.head, seen, lit, tone)
    seen = without_fringe(estimate.head, seen, lit, tone)
    return replace(estimate, seen=seen, light_1lc=light, tone=tone, lighting=lit)


def open_texels(head: Head, mesh_1v3: Tensor) -> Tensor:
    """Ambient occlusion (1, 1, h, w) of ``BASE`` x ``BASE`` texels by a person's own geometry."""
    ao_v = openness(head, mesh_1v3)
    return at_texels(chart(head, BASE).to(ao_v.device), _triangles(head, ao_v.device), ao_v[None, :, None])


def openness(head: Head, mesh_1v3: Tensor) -> Tensor:
    """Ambient occlusion (v) of a person's own geometry."""
    normals = vertex_normals(mesh_1v3, _triangles(head, mesh_1v3.device))[0].cpu().numpy()
    mesh = mesh_1v3[0].cpu().numpy()
    return torch.from_numpy(occlusion.openness(head, occlusion.visibility(head, mesh, normals))).to(mesh_1v3)


def explain(estimate: Estimate, morphable: Morphable, texels: Texels) -> Explanation:
    """Find light, low-rank albedo and tone in turn."""
    cues = light_cues(estimate.portrait)
    prior = light = estimate.fit.parameters.light_b81c
    code = torch.zeros_like(estimate.fit.parameters.reflectance_bk)
    tone = None
    if len(texels.index) < _LEAST:
        tone = estimate_tone(torch.tensor([0.3, 0.2, 0.15]), cues, estimate.portrait.colourless)
        return Explanation(light, code, tone)
    for _ in range(_ROUNDS):
        albedo = morphable.reflectance(code)[0][0].flatten(1).T[texels.index]
        material = _material(texels, albedo)
        light = solve_light(material, texels.normal_1n3, texels.view_1n3, texels.colour_1n3, prior)
        own, shading = _divided(texels, light)
        # The light takes what the tone says belongs to it.
        level = _mean(own, texels)
        tone = estimate_tone(level * _mean(shading, texels), cues, estimate.portrait.colourless)
        gain = own.new_tensor(tone.albedo_3) / level
        light, own = light / gain, own * gain
        code = _code(morphable, texels, own)
    assert tone is not None
    return Explanation(light, code, tone)


def seen_texels(estimate: Estimate, size: int, seen: Seen, ao: Tensor) -> Texels:
    """The seen texels of a chart of ``size`` texels a side; ``ao``: of :func:`open_texels`."""
    head, fit = estimate.head, estimate.fit
    colour, weight = seen.small_colour_13hw, seen.small_weight_11hw
    texels = chart(head, size).to(colour.device)
    skin = surface(texels, head, fit.mesh_1v3)
    share_of = interpolate(weight, size=(size, size), mode="area")
    mean = interpolate(colour * weight, size=(size, size), mode="area") / share_of.clamp_min(1e-6)
    at = (share_of[0, 0] > 0.5) & (texels.triangle_hw >= 0)
    spot_v = torch.from_numpy(bare_skin(head))
    spot = spot_v.to(at.device)[_triangles(head, at.device)[texels.triangle_hw[at]]].all(dim=1)
    where = skin.position_b3hw[:, :, at].mT
    return Texels(
        at.flatten().nonzero()[:, 0],
        mean[:, :, at].mT,
        skin.normal_b3hw[:, :, at].mT,
        views(fit.camera, where),
        interpolate(ao, size=(size, size), mode="area")[:, :, at].mT,
        share_of[0, 0][at],
        spot if bool(spot.any()) else torch.ones_like(spot),
    )


def _material(texels: Texels, albedo_n3: Tensor) -> Material:
    return Material(
        albedo_n3[None],
        torch.full_like(texels.ao_1n1, SPECULAR),
        texels.ao_1n1,
        torch.zeros_like(texels.ao_1n1),
    )


def _divided(texels: Texels, light_1lc: Tensor) -> tuple[Tensor, Tensor]:
    """Albedo (n, 3) of the texels under this light, and irradiance / pi past the head itself (n, 3)."""
    lit = irradiance(light_1lc, texels.normal_1n3)[0] / torch.pi
    lit = torch.maximum(lit, DARKEST * lit.mean(dim=0)).clamp_min(1e-4) * texels.ao_1n1[0]
    return ((texels.colour_1n3[0] - gloss(texels, light_1lc)) / lit).clamp_min(1e-3), lit


def gloss(texels: Texels, light_1lc: Tensor) -> Tensor:
    """Highlights (n, 3) of the texels under this light."""
    black = _material(texels, torch.zeros_like(texels.colour_1n3[0]))
    return shade(black, texels.normal_1n3, texels.view_1n3, light_1lc)[0].clamp_min(0)


def _mean(values_n3: Tensor, texels: Texels) -> Tensor:
    return trimmed_mean(values_n3[texels.spot_n])


def bare_skin(head: Head) -> NDArray[np.bool_]:
    """Vertices (V bool) of the bare facial skin, whose mean albedo is a person's tone."""
    return head.region("cheek") | head.region("forehead") | head.region("nose")


def trimmed_mean(values_n3: Tensor) -> Tensor:
    """Geometric mean (3) of positive values without the darkest and brightest fifth."""
    chosen = values_n3.log()
    low, high = (chosen.mean(dim=1).quantile(q) for q in (0.2, 0.8))
    inner = (chosen.mean(dim=1) >= low) & (chosen.mean(dim=1) <= high)
    return chosen[inner].mean(dim=0).exp()


def _code(morphable: Morphable, texels: Texels, albedo_n3: Tensor) -> Tensor:
    """Most likely reflectance code (1, k) of the albedo; outliers (hair, glasses, shadows) count less."""
    size = morphable.config.texture_size
    basis = morphable.reflectance_basis.unflatten(1, (4, size * size))[:, :3, texels.index]  # k 3 n
    mean = morphable.reflectance_mean.unflatten(0, (4, size * size))[:3, texels.index]
    wanted = to_srgb(albedo_n3.clamp(0, 1)).T - mean
    code = basis.new_zeros(len(basis))
    prior = torch.eye(len(basis), device=basis.device, dtype=basis.dtype)
    for _ in range(4):
        error = wanted - torch.tensordot(code, basis, 1)
        weight = texels.weight_n / (1 + error.square().mean(dim=0) / (2 * _NOISE) ** 2).square()
        weight = weight * (_INDEPENDENT / (_NOISE**2 * 3 * len(weight)))
        flat = (basis * weight).flatten(1)
        code = torch.linalg.solve(flat @ basis.flatten(1).T + prior, flat @ wanted.flatten())
    return code[None].clamp(-3, 3)


def _triangles(head: Head, device: torch.device) -> Tensor:
    return torch.tensor(head.triangles_f3).to(device)
