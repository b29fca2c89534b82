"""The networks of ``normals``. Shapes: b batch, p places, k components, h w rows and columns."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from mosar.models.colour import to_srgb
from mosar.models.losses import resized
from mosar.models.networks.blocks import Convolution, coordinates
from mosar.models.networks.resnet import Block
from mosar.models.networks.unet import UNet
from mosar.models.stages.normals.config import Config
from mosar.models.stages.normals.patches import PatchBasis


class Regressor(nn.Module):
    """Coefficients (b, p, k) from textures and their detail (b, 6, h, w), from features of the place and whole map."""

    def __init__(self, config: Config, places: int) -> None:
        super().__init__()
        halvings = int(math.log2(config.patch // 2))
        widths = [config.network.width * min(2**i, 4) for i in range(halvings + 1)]
        steps = [Convolution(a, b, stride=2) for a, b in pairwise(widths)]
        depths = [widths[-1], *(config.features,) * config.network.blocks]
        blocks = [Block(a, b, stride=1) for a, b in pairwise(depths)]
        self.body = nn.Sequential(nn.Conv2d(8, config.network.width, 3, padding=1), *steps, *blocks)
        self.whole = nn.Linear(config.features, config.features)
        # Components differ from place to place, so every place has its own last layer.
        self.last_pfk = nn.Parameter(
            torch.randn(places, config.features, config.components) / math.sqrt(config.features)
        )

    def forward(self, maps_b6hw: Tensor) -> Tensor:
        features = self.body(torch.cat([maps_b6hw, coordinates(maps_b6hw)], dim=1))
        features = features + self.whole(features.mean(dim=(2, 3)))[..., None, None]
        places = avg_pool2d(features, 2, stride=1).flatten(2)  # a patch spans two by two cells
        return torch.einsum("bfp,pfk->bpk", places, self.last_pfk)


class Normals(nn.Module):
    """Tangent-space normals: patches of principal components form the base, a U-Net refines it."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.size = config.map_size
        self.basis = PatchBasis(2, config.map_size, config.patch, config.components)
        self.regressor = Regressor(config, self.basis.across**2)
        self.refinement = UNet(9, 2, config.network)

    def forward(self, texture_b3hw: Tensor) -> Tensor:
        """Unit tangent-space normals (b, 3, h, w), +x along u, +y along v, of a light-normalised texture.

        ``texture_b3hw``: linear, in [0, 1], of any size; the base is computed at the training size and resized.
        """
        return self.explain(texture_b3hw)[1]

    def explain(self, texture_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        """Normals of the patches alone, and refined normals, both (b, 3, h, w)."""
        encoded = to_srgb(texture_b3hw.clamp(0.0, 1.0))
        maps = torch.cat([encoded, _detail(encoded)], dim=1)
        at_size = resized(encoded, self.basis.mean_1chw)
        coefficients = self.regressor(torch.cat([at_size, _detail(at_size)], dim=1))
        base = resized(self.basis.compose(coefficients), encoded)
        refined = base + 0.1 * self.refinement(torch.cat([maps, unit_normals(base)], dim=1))
        return unit_normals(base), unit_normals(refined)


def _detail(encoded_b3hw: Tensor) -> Tensor:
    """Local contrast of each texel with its surroundings: creases are faint compared with differences of skin tone."""
    logarithm = (encoded_b3hw + 0.05).log()
    around = avg_pool2d(logarithm, 9, stride=1, padding=4, count_include_pad=False)
    return (5.0 * (logarithm - around)).clamp(-1.0, 1.0)


def unit_normals(slope_b2hw: Tensor) -> Tensor:
    """Unit normals (b, 3, h, w) from their x and y, whose length is limited to 0.95."""
    length = slope_b2hw.square().sum(dim=1, keepdim=True).clamp_min(1e-12).sqrt()
    slope = slope_b2hw * (length.clamp_max(0.95) / length)
    return torch.cat([slope, (1.0 - slope.square().sum(dim=1, keepdim=True)).sqrt()], dim=1)
