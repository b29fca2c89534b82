"""Captures as a photograph shows them: lit, partly hidden, and with an estimate of the light.

They are lit anew, or, where a bundle has estimated mesh, camera and light from a capture's picture, that picture is
unwrapped through the estimate, with all its errors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosar.models.colour import LUMINANCE
from mosar.models.head import Head
from mosar.models.relight import perturb_light, random_lights
from mosar.models.texture_space.camera_degradation import degrade
from mosar.models.texture_space.captured_skin import CapturedSkin, light_normalized, radiance, read_skin
from mosar.models.texture_space.cast_shadows import cast_shadows
from mosar.models.texture_space.lighting import Lighting, lighting, rough_ao
from mosar.models.texture_space.unwrapped_photograph import ESTIMATE_FIELDS, unwrapped_photograph
from mosar.models.texture_space.visibility_sampling import random_eyes, random_known

CAPTURE_FIELDS = ("mesh", "light", "diffuse", "specular", "ao", "translucency", "normal")
"""Fields of a capture that are needed to light it anew."""


@dataclass(frozen=True)
class Photographed:
    """How captures become photographs.

    Attributes:
        estimated_share: share of the captures whose own picture is seen through a bundle's estimate.
        damaged: whether the others have cast shadows and the camera's blur, noise, tone curve and clipping.
    """

    estimated_share: float = 0.0
    damaged: bool = False


@dataclass(frozen=True, eq=False)
class RelitCapture:
    """A capture as a photograph shows it.

    Attributes:
        skin: the true maps on the true surface.
        lit_b3hw: its colour in the photograph, linear; of no meaning where nothing is known.
        clean_b3hw: the same without damage and without holes, under the estimated light where the picture is unwrapped.
        known_b1hw: in [0, 1], how well the photograph shows a texel.
        light: the light as estimated.
        ao_b1hw: ambient occlusion as estimated.
        estimated_b: whether the capture's own picture is seen, through a bundle's estimate.
    """

    skin: CapturedSkin
    lit_b3hw: Tensor
    clean_b3hw: Tensor
    known_b1hw: Tensor
    light: Lighting
    ao_b1hw: Tensor
    estimated_b: Tensor


def fields(estimated_share: float) -> tuple[str, ...]:
    """Fields of a capture that :func:`photographed` reads."""
    return CAPTURE_FIELDS + (ESTIMATE_FIELDS if estimated_share else ())


def photographed(
    sample: Mapping[str, Tensor], head: Head, generator: torch.Generator, how: Photographed
) -> RelitCapture:
    """The captures of a batch as photographs show them; the sample has :func:`fields`."""
    skin = read_skin(sample, head)
    chosen = torch.rand(len(sample["mesh"]), generator=generator, device=generator.device) < how.estimated_share
    if not chosen.any():
        return RelitCapture(skin, *_relit(sample, skin, generator, how), chosen.to(skin.diffuse_b3hw.device))
    estimated = torch.where(chosen)[0].to(skin.diffuse_b3hw.device)
    rest = torch.where(~chosen)[0].to(estimated)
    parts = [_estimated(_some(sample, estimated), _part(skin, estimated), head, generator)]
    if len(rest):
        parts.append(_relit(_some(sample, rest), _part(skin, rest), generator, how))
    order = torch.cat([estimated, rest]).argsort()
    lit, clean, known, shading, highlight, ao = (
        torch.cat(values)[order]
        for values in zip(*((a, b, c, d.shading_b3hw, d.highlight_b3hw, e) for a, b, c, d, e in parts), strict=True)
    )
    light = Lighting(shading, highlight)
    return RelitCapture(skin, lit, clean, known, light, ao, chosen.to(order.device))


_Seen = tuple[Tensor, Tensor, Tensor, Lighting, Tensor]


def _relit(sample: Mapping[str, Tensor], skin: CapturedSkin, generator: torch.Generator, how: Photographed) -> _Seen:
    """Captures under a new random light, and what one random view of them shows."""
    eye = random_eyes(len(sample["mesh"]), generator, sample["mesh"].device)
    light = random_lights(sample["light"], generator)
    clean = radiance(skin, light, eye)
    known = random_known(skin.surface, skin.inside_11hw, eye, generator)
    estimate = perturb_light(light, generator)
    ao = rough_ao(skin.ao_b1hw, generator)
    lit = degrade(cast_shadows(clean, generator), generator) * skin.inside_11hw if how.damaged else clean
    return lit, clean, known, lighting(estimate, skin.surface, eye, ao), ao


def _estimated(sample: Mapping[str, Tensor], skin: CapturedSkin, head: Head, generator: torch.Generator) -> _Seen:
    """The captures' own pictures through a bundle's estimate."""
    seen = unwrapped_photograph(sample, head, generator)
    light = lighting(seen.light_blc, seen.surface, seen.eye_b3, seen.ao_b1hw)
    clean = light.lit(_in_tone_of(light.even(seen.lit_b3hw), seen.known_b1hw, skin)) * skin.inside_11hw
    return seen.lit_b3hw, clean, seen.known_b1hw, light, seen.ao_b1hw


def _in_tone_of(even_b3hw: Tensor, known_b1hw: Tensor, skin: CapturedSkin) -> Tensor:
    """The true even textures, in the tone that the estimated ones have on average: what continues them in holes."""
    truth = light_normalized(skin)
    ours, theirs = ((m * known_b1hw).sum(dim=(2, 3), keepdim=True) for m in (even_b3hw.clamp_min(0.0), truth))
    return truth * (ours.clamp_min(1e-3) / theirs.clamp_min(1e-3)).clamp(0.25, 4.0)


def brightness_ratio(ours_b3hw: Tensor, theirs_b3hw: Tensor, weight_b1hw: Tensor) -> Tensor:
    """Mean luminance of the first textures over that of the second, on weighted texels (b, 1, 1, 1), in [1/4, 4].

    How bright a skin is, one photograph does not show: :mod:`~mosar.models.reconstruct.tone` decides it. Networks that
    learnt it from captures would learn how these were exposed, so they are trained at the brightness of the estimate.
    """
    weights = ours_b3hw.new_tensor(LUMINANCE)[:, None, None]
    ours, theirs = (
        (m.clamp_min(0.0) * weights * weight_b1hw).sum(dim=(1, 2, 3), keepdim=True).clamp_min(1e-3)
        for m in (ours_b3hw, theirs_b3hw)
    )
    return (ours / theirs).clamp(0.25, 4.0)


def mirror_some(maps: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Mirror half of the captures of a batch, each in all maps (b, c, h, w): faces have no handedness.

    Maps of batch size one stay: they are the same for all captures, and symmetric.
    """
    count = max(map(len, maps))
    mirrored = torch.rand(count, 1, 1, 1, generator=generator, device=generator.device) < 0.5
    return [m if len(m) < count else torch.where(mirrored.to(m.device), m.flip(-1), m) for m in maps]


def _some(sample: Mapping[str, Tensor], at_n: Tensor) -> dict[str, Tensor]:
    return {name: value[at_n] for name, value in sample.items()}


def _part(skin: CapturedSkin, at_n: Tensor) -> CapturedSkin:
    """The skins with these numbers."""
    values = {name: v[at_n] for name, v in vars(skin).items() if isinstance(v, Tensor) and name != "inside_11hw"}
    own = type(skin.surface)(**{name: value[at_n] for name, value in vars(skin.surface).items()})
    return CapturedSkin(**values, inside_11hw=skin.inside_11hw, surface=own)
