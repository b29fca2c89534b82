"""The network of ``completion``. Shapes: b batch, h w rows and columns; textures linear RGB."""

import torch
from torch import Tensor, nn

from mosar.models.colour import to_linear, to_srgb
from mosar.models.networks.patchgan import PatchDiscriminator
from mosar.models.networks.unet import UNet
from mosar.models.stages.completion.config import Config
from mosar.models.texture_space import AverageSkin, Filled, fill, pull_push


class Completion(nn.Module):
    """Fills holes of a lit texture.

    The initial estimate takes each texel from the photograph, else from its mirror image, else from the average skin,
    lit like the photograph and tinted like the surroundings. The network corrects this estimate in sRGB-encoded
    colours. Only training uses the discriminator.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.average = AverageSkin(config.map_size)
        self.network = UNet(15, 3, config.network)
        self.critic = PatchDiscriminator(3, config.critic) if config.critic else None

    def forward(self, texture_b3hw: Tensor, known_b1hw: Tensor, shading_b3hw: Tensor | None = None) -> Tensor:
        """The whole texture (b, 3, h, w) in [0, 1].

        Args:
            texture_b3hw: linear, of any size; values in holes are ignored.
            known_b1hw: bool or 0 / 1, which texels the photograph shows. They stay, except in a seam inside their edge.
            shading_b3hw: :func:`~mosar.models.texture_space.shading` of the estimated light at the mesh's normals, if
                there is an estimate. The network was trained with noisy estimates and without any.
        """
        filled = fill(to_srgb(texture_b3hw.clamp(0.0, 1.0)), known_b1hw)
        given = texture_b3hw.new_full((len(texture_b3hw),), float(shading_b3hw is not None))
        estimate = torch.ones_like(texture_b3hw) if shading_b3hw is None else shading_b3hw
        return to_linear(self.correct(filled, estimate, given).clamp(0.0, 1.0))

    def correct(self, filled: Filled, shading_b3hw: Tensor, given_b: Tensor) -> Tensor:
        """The prediction for a filled, sRGB-encoded texture (b, 3, h, w): sRGB-encoded, not clipped.

        ``given_b`` is 1 for captures whose estimated shading is used, else 0.
        """
        known, seen = filled.known_b1hw, filled.known_b1hw + filled.mirrored_b1hw
        given = given_b[:, None, None, None]
        with torch.no_grad():
            linear = to_linear(filled.texture_bchw)
            guess, _ = self.average.fit_lighting(linear, known)
            estimate = self.average.shade_with(linear, known, shading_b3hw)
            average = to_srgb(torch.where(given > 0, 0.5 * (estimate + guess), guess).clamp(0.0, 1.0))
            first = average + pull_push((filled.texture_bchw - average) * seen, seen)
            estimate = given * to_srgb(estimate.clamp(0.0, 1.0))
        places = [known, filled.mirrored_b1hw, given.expand_as(known)]
        maps = torch.cat([first, filled.texture_bchw, to_srgb(guess.clamp(0.0, 1.0)), estimate, *places], dim=1)
        return first + (1.0 - known) * self.network(maps)
