"""From the networks' maps to the avatar's: hidden places, scalp, grain, and the light that explains the photograph."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from mosar.models.camera import views
from mosar.models.colour import to_linear, to_srgb
from mosar.models.head import Head
from mosar.models.losses import resized
from mosar.models.reconstruct.detail import add_grain, grain
from mosar.models.reconstruct.estimate import Estimate, Maps
from mosar.models.reconstruct.hair import crop_hair, find_hair
from mosar.models.reconstruct.light_estimation import solve_light
from mosar.models.reconstruct.seen import BASE
from mosar.models.shading import Material
from mosar.models.texture_space.fill import pull_push
from mosar.models.uv import chart, surface, texels_of, to_world
from mosar.models.vectors import unit

_RIM = 0.002  # width of the dark rim of eye sockets and mouth on lids and lips, as a share of the chart's side
_TEXELS = 96  # a side of the chart on which the light is found
_LEAST = 60  # seen texels


@torch.no_grad()
def finish(estimate: Estimate) -> Estimate:
    """Complete the maps and find the light again, now that they are known."""
    generator = torch.Generator().manual_seed(0)
    maps = _continued(estimate)
    hair = find_hair(estimate)
    known = estimate.filled.known_b1hw
    plain = _not_plain(estimate.head).to(known)
    encoded = to_srgb(maps.diffuse)
    bands = grain(encoded, known, plain)
    given = (known + estimate.filled.mirrored_b1hw).clamp_max(1.0)
    whole = to_linear(add_grain(encoded, given, bands, generator).clamp_(0.0, 1.0))
    whole = crop_hair(estimate.head, whole, known, hair, generator)
    maps = replace(maps, diffuse=whole)
    return replace(estimate, maps=maps, light_1lc=_light(estimate, maps))


def _continued(estimate: Estimate) -> Maps:
    """Maps continued from the exposed skin into eyes and mouth, where nothing is seen and nothing is learnt."""
    head = estimate.head
    triangle_hw = chart(head, BASE).triangle_hw
    hidden_f = torch.from_numpy(head.region("interior")[head.triangles_f3].any(axis=1))
    hidden_hw = (triangle_hw < 0) | hidden_f[triangle_hw.clamp_min(0)]
    reach = 2 * max(1, round(_RIM * BASE)) + 1
    hidden = max_pool2d(hidden_hw.to(estimate.ao_11hw)[None, None], reach, stride=1, padding=reach // 2)
    names = ("diffuse", "specular", "ao", "translucency", "normal")

    def continued(values: Tensor) -> Tensor:
        small = resized(values, hidden) if values.shape[-1] > BASE else values
        inside = 1.0 - resized(hidden, small)
        smooth = resized(pull_push(small * inside, inside), values)
        return torch.lerp(values, smooth, resized(hidden, values))

    maps = replace(estimate.maps, **{name: continued(getattr(estimate.maps, name)) for name in names})
    return replace(maps, normal=unit(maps.normal))


def _not_plain(head: Head) -> Tensor:
    """1 where the chart (BASE) is no plain skin: lips, eyes, brows, nostrils, scalp, ears, neck."""
    plain = texels_of(head, head.region("cheek") | head.region("forehead"), BASE)
    return (~plain).float()[None, None]


def _light(estimate: Estimate, maps: Maps) -> Tensor:
    """The light (1, 81, 3) that explains the seen texels with these maps."""
    head, fit, size = estimate.head, estimate.fit, (_TEXELS, _TEXELS)
    weight = interpolate(estimate.seen.small_weight_11hw, size=size, mode="area")
    seen = estimate.seen.small_colour_13hw * estimate.seen.small_weight_11hw
    colour = interpolate(seen, size=size, mode="area") / weight.clamp_min(1e-6)
    texels = chart(head, _TEXELS).to(weight.device)
    at = (weight[0, 0] > 0.5) & (texels.triangle_hw >= 0)
    if int(at.sum()) < _LEAST:
        return estimate.light_1lc
    skin = surface(texels, head, fit.mesh_1v3)
    normals = to_world(skin, resized(maps.normal, weight))[:, :, at].mT
    parts = (maps.diffuse, maps.specular, maps.ao, maps.translucency)
    material = Material(*(resized(m, weight)[:, :, at].mT for m in parts))
    towards = views(fit.camera, skin.position_b3hw[:, :, at].mT)
    return solve_light(material, normals, towards, colour[:, :, at].mT, estimate.light_1lc)
