"""Represent a map by overlapping patches at fixed places; each place has its own principal components.

Shapes: b batch (N captures), p places (rows first), k components, d values of a patch (c x patch x patch), h w the map.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import fold, unfold

_LEAST = 1e-3  # components weaker than this share of the first one's strength are rounding errors
_AT_ONCE = 16  # places whose components are expanded to full precision at once: more leave the cache, and take longer


class PatchBasis(nn.Module):
    """Mean map and principal components of the patches at every place; neighbours overlap by half.

    The components are held in half precision: they are most of the memory (961 x 64 x 2048 in recipe ``paper``).

    Args:
        channels: of the map.
        size: of the map, texels, a multiple of half a patch.
        patch: side, texels, even.
        components: principal components per place, at most.
    """

    mean_1chw: Tensor
    components_pkd: Tensor
    window_1d1: Tensor
    total_1chw: Tensor

    def __init__(self, channels: int, size: int, patch: int, components: int) -> None:
        super().__init__()
        self.size, self.patch, self.stride = size, patch, patch // 2
        self.across = size // self.stride - 1
        places, values = self.across**2, channels * patch**2
        self.register_buffer("mean_1chw", torch.zeros(1, channels, size, size))
        self.register_buffer("components_pkd", torch.zeros(places, components, values, dtype=torch.float16))
        ramp = torch.sin(math.pi * (torch.arange(patch) + 0.5) / patch).square()  # raised cosine: halves add up to one
        window = (ramp[:, None] * ramp).expand(channels, -1, -1).reshape(1, -1, 1)
        total = self._blend(window.expand(-1, -1, places))
        self.register_buffer("window_1d1", window, persistent=False)
        self.register_buffer("total_1chw", total, persistent=False)

    @torch.no_grad()
    def fit(self, maps_bchw: Tensor) -> None:
        """Fit mean and components to captures. A component's length is its standard deviation; missing ones are 0."""
        self.mean_1chw.copy_(maps_bchw.mean(dim=0, keepdim=True))
        patches_pnd = unfold(maps_bchw - self.mean_1chw, self.patch, stride=self.stride).permute(2, 0, 1)
        # With fewer captures than values the small Gram matrix suffices: X = U S V^T, S V^T = U^T X.
        u_pnn = torch.linalg.eigh(patches_pnd @ patches_pnd.mT).eigenvectors.flip(-1)
        count = min(self.components_pkd.shape[1], len(maps_bchw) - 1)
        found = u_pnn[..., :count].mT @ patches_pnd / math.sqrt(max(len(maps_bchw) - 1, 1))
        strength = found.norm(dim=-1, keepdim=True)
        self.components_pkd.zero_()
        self.components_pkd[:, :count] = torch.where(strength > _LEAST * strength[:, :1], found, 0.0)

    def project(self, maps_bchw: Tensor) -> Tensor:
        """Coefficients (b, p, k) of maps in standard deviations; 0 for missing components."""
        patches_bpd = unfold(maps_bchw - self.mean_1chw, self.patch, stride=self.stride).mT
        components_pkd = self.components_pkd.to(maps_bchw.dtype)
        power_pk = components_pkd.square().sum(dim=-1)
        dots = torch.einsum("bpd,pkd->bpk", patches_bpd, components_pkd)
        return torch.where(power_pk > 1e-12, dots / power_pk.clamp_min(1e-12), 0.0)

    def compose(self, coefficients_bpk: Tensor) -> Tensor:
        """The map (b, c, h, w) of coefficients in standard deviations, blended with a raised cosine."""
        parts = zip(coefficients_bpk.split(_AT_ONCE, dim=1), self.components_pkd.split(_AT_ONCE), strict=True)
        patches_bpd = torch.cat([torch.einsum("bpk,pkd->bpd", own, part.to(own.dtype)) for own, part in parts], dim=1)
        return self.mean_1chw + self._blend(patches_bpd.mT * self.window_1d1) / self.total_1chw

    def _blend(self, patches_bdp: Tensor) -> Tensor:
        return fold(patches_bdp, (self.size, self.size), self.patch, stride=self.stride)
