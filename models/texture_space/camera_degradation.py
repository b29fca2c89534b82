"""Camera effects on a texture that is unwrapped from a photograph."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mosar.models.colour import to_linear, to_srgb


def degrade(texture_b3hw: Tensor, generator: torch.Generator) -> Tensor:
    """Degrade textures (b, 3, h, w), linear, as a camera does: clip at 1, blur, apply a tone curve and add noise.

    Each texture has its own random strengths. Nothing is rounded, so the result stays differentiable.
    """
    batch = len(texture_b3hw)

    def uniform(low: float, high: float) -> Tensor:
        share = torch.rand(batch, 1, 1, 1, generator=generator, device=generator.device)
        return (share * (high - low) + low).to(texture_b3hw.device)

    encoded = to_srgb(texture_b3hw.clamp(0.0, 1.0))
    blurred = avg_pool2d(encoded, 3, stride=1, padding=1, count_include_pad=False)
    encoded = torch.lerp(encoded, blurred, uniform(0.0, 1.0))
    encoded = encoded.clamp_min(1e-3) ** uniform(0.85, 1.15)
    noise = torch.randn(texture_b3hw.shape, generator=generator, device=generator.device).to(texture_b3hw.device)
    return to_linear((encoded + uniform(0.0, 0.02) * noise).clamp(0.0, 1.0))
