"""Shadows of other things on a lit texture. Shapes: b batch, h w rows and columns; linear RGB."""

import torch
from torch import Tensor

from mosar.models.texture_space.visibility_sampling import smooth_noise

_SHARE = 0.5  # of the pictures have a shadow


def cast_shadows(lit_b3hw: Tensor, generator: torch.Generator) -> Tensor:
    """Darken parts of half of the textures, as brims, hands, branches and window frames do.

    A shadow takes 20 to 85 % of the light, of red a little less than of blue, because skin scatters light into it. Its
    edge is between hard and as soft as that of a shadow under a cloudy sky.
    """
    batch, _, height, width = lit_b3hw.shape

    def uniform(low: float, high: float) -> Tensor:
        share = torch.rand(batch, 1, 1, 1, generator=generator, device=generator.device)
        return (share * (high - low) + low).to(lit_b3hw)

    coarse, fine = (smooth_noise(batch, (height, width), cells, generator).to(lit_b3hw) for cells in (4, 9))
    slope = torch.randn(batch, 2, 1, 1, generator=generator, device=generator.device).to(lit_b3hw)
    down, across = (torch.linspace(-1.0, 1.0, n, device=lit_b3hw.device, dtype=lit_b3hw.dtype) for n in (height, width))
    edge = coarse + 0.4 * fine + 1.5 * (slope[:, :1] * down[:, None] + slope[:, 1:] * across) - uniform(0.3, 2.0)
    softness = uniform(0.0, 1.0).square() * 0.8 + 0.03
    shadow = (edge / softness).sigmoid() * (uniform(0.0, 1.0) < _SHARE)
    taken = uniform(0.2, 0.85) * torch.cat([uniform(0.85, 1.0), uniform(0.95, 1.0), torch.ones_like(softness)], dim=1)
    return lit_b3hw * (1.0 - shadow * taken)
