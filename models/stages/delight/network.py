"""The network of ``delight``. Shapes: b batch, h w rows and columns; textures linear RGB."""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from mosar.models.networks.patchgan import PatchDiscriminator
from mosar.models.networks.unet import UNet
from mosar.models.stages.delight.config import Config
from mosar.models.texture_space import AverageSkin

_DARK = 0.02  # keeps logarithms of dark colours finite
_LARGEST = 2.5  # largest absolute logarithm of the gain


class Delight(nn.Module):
    """Turns a lit texture into the texture under uniform white light.

    ``out = in * gain + offset``: the gain undoes shading and is smooth, so that the photograph's fine detail stays; the
    offset undoes highlights. The initial gain is the one of the average skin lit like the texture, averaged with the
    gain of the estimated shading if there is one; the network corrects its logarithm and sees logarithms of colours.
    Only training uses the discriminator.
    """

    mean_gain_13: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.cell = config.gain_cell
        self.average = AverageSkin(config.map_size)
        self.network = UNet(13, 6, config.network)
        self.critic = PatchDiscriminator(3, config.critic) if config.critic else None
        # Per channel, over the training set: mean of the light-normalised textures / mean of the lit ones.
        self.register_buffer("mean_gain_13", torch.ones(1, 3))

    def forward(self, texture_b3hw: Tensor, shading_b3hw: Tensor | None = None) -> Tensor:
        """The texture under white light of radiance one from everywhere (b, 3, h, w), in [0, 1].

        Args:
            texture_b3hw: a whole texture under any light, linear, of any size; values above 1 are clipped.
            shading_b3hw: :func:`~mosar.models.texture_space.shading` of the estimated light at the mesh's normals, if
                there is an estimate. The network was trained with noisy estimates and without any.
        """
        count, _, height, width = texture_b3hw.shape
        given = texture_b3hw.new_ones(count) if shading_b3hw is not None else texture_b3hw.new_zeros(count)
        estimate = texture_b3hw.new_ones(count, 3, height, width) if shading_b3hw is None else shading_b3hw
        return self.even(texture_b3hw.clamp(0.0, 1.0), estimate, given).clamp(0.0, 1.0)

    def even(self, texture_b3hw: Tensor, shading_b3hw: Tensor, given_b: Tensor) -> Tensor:
        """Like ``forward``, but not clipped; ``given_b`` is 1 for captures whose estimated shading is used, else 0."""
        given = given_b[:, None, None, None]
        with torch.no_grad():
            lit, shade = self.average.fit_lighting(texture_b3hw, torch.ones_like(texture_b3hw[:, :1]))
            guess = shade.log()
            estimate = (shading_b3hw + _DARK).log() * given
            # The guess removes only the variation of the light; an estimate also determines its brightness and colour.
            guessed = guess.mean(dim=(2, 3), keepdim=True) - guess
            first = torch.lerp(guessed, -estimate, 0.5 * given)
        maps = [(texture_b3hw + _DARK).log(), (lit + _DARK).log(), guess, estimate, given.expand_as(lit[:, :1])]
        log_gain, offset = self.network(torch.cat(maps, dim=1)).split(3, dim=1)
        if self.cell > 1:
            coarse = avg_pool2d(log_gain, self.cell, ceil_mode=True, count_include_pad=False)
            log_gain = interpolate(coarse, size=texture_b3hw.shape[-2:], mode="bilinear", align_corners=False)
        return texture_b3hw * (first + log_gain).clamp(-_LARGEST, _LARGEST).exp() + 0.1 * offset
