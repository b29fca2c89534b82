"""Pictures that are unwrapped through what a bundle estimated from them. Shapes: b batch, h w texels, linear RGB."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mosar.models.colour import to_linear
from mosar.models.head import Head
from mosar.models.uv import Surface, chart, surface

ESTIMATE_FIELDS = ("unwrapped", "seen", "estimate_ao", "estimate_mesh", "estimate_light", "estimate_eye")
"""Fields of what a bundle has estimated from the picture of a capture or from a photograph."""

_EXPOSURE, _BALANCE = 0.25, 0.08  # deviations of the logarithms of a picture's other exposure and white balance


@dataclass(frozen=True, eq=False)
class UnwrappedPhotograph:
    """Pictures on the chart, as a bundle's estimate shows them.

    Attributes:
        lit_b3hw: colour, 0 where nothing is known.
        known_b1hw: in [0, 1], how well the picture shows a texel.
        inside_11hw: 1 on the chart.
        surface: of the estimated mesh, head frame, mm.
        ao_b1hw: ambient occlusion by that mesh.
        light_blc: estimated light, spherical harmonics, head frame.
        eye_b3: the camera's position, mm.
    """

    lit_b3hw: Tensor
    known_b1hw: Tensor
    inside_11hw: Tensor
    surface: Surface
    ao_b1hw: Tensor
    light_blc: Tensor
    eye_b3: Tensor


def unwrapped_photograph(sample: Mapping[str, Tensor], head: Head, generator: torch.Generator) -> UnwrappedPhotograph:
    """The pictures of a batch that has :data:`ESTIMATE_FIELDS`.

    Another exposure and white balance change picture and light alike, so that there are more pictures than samples.
    """
    texels = chart(head, sample["seen"].shape[-1]).to(sample["seen"].device)
    inside = (texels.triangle_hw >= 0).float()[None, None]
    noise = torch.randn(len(sample["seen"]), 4, generator=generator, device=generator.device).to(inside)
    gain = (_EXPOSURE * noise[:, :1] + _BALANCE * noise[:, 1:]).exp()
    known = sample["seen"] / 255.0 * inside
    return UnwrappedPhotograph(
        lit_b3hw=to_linear(sample["unwrapped"] / 255.0) * (known > 0) * gain[..., None, None],
        known_b1hw=known,
        inside_11hw=inside,
        surface=surface(texels, head, sample["estimate_mesh"]),
        ao_b1hw=sample["estimate_ao"] / 255.0,
        light_blc=sample["estimate_light"] * gain[:, None],
        eye_b3=sample["estimate_eye"],
    )
