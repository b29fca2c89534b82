"""The average skin of the training captures. Shapes: b batch, h w the map."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from mosar.models.colour import to_linear, to_srgb
from mosar.models.head import Head
from mosar.models.losses import resized
from mosar.models.texture_space.captured_skin import CapturedSkin, light_normalized
from mosar.models.texture_space.fill import pull_push
from mosar.models.uv import chart, interpolate

_DARK = 1e-3
_HAIRY = (
    0.68,
    0.85,
)  # of a texel's brightness and redness over the face's: below the first it is hair, above the second bare
_BARE = (0.10, 0.35)  # share of people without hair at a texel: below the first its mean tells nothing of skin
_DARK_PLACES = ("brows", "eyes", "lips", "nose", "interior")


class AverageSkin(nn.Module):
    """The mean even (light-normalised) texture of the training captures, linear; its brows, lips and lids are clean.

    Scalp and cheeks are those of people without hair and beard: texels much darker or greyer than the person's face
    hardly count.

    Attributes:
        even_13hw: the mean.
        inside_11hw: 1 where the chart has skin.
    """

    even_13hw: Tensor
    inside_11hw: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("even_13hw", torch.full((1, 3, size, size), 0.25))
        self.register_buffer("inside_11hw", torch.ones(1, 1, size, size))

    @torch.no_grad()
    def fit(self, skins: Iterable[CapturedSkin], head: Head) -> None:
        """Set the attributes from batches of captures. The mean is taken of sRGB-encoded colours."""
        size = self.even_13hw.shape[-1]
        marks = _marks(head, size).to(self.even_13hw)
        total, weights = torch.zeros_like(self.even_13hw), torch.zeros_like(self.inside_11hw)
        count = 0
        for skin in skins:
            even = to_srgb(light_normalized(skin).clamp(0.0, 1.0))
            self.inside_11hw.copy_(skin.inside_11hw)
            bare = _bare(even, skin.inside_11hw * (1 - marks))
            weight = torch.lerp(bare, torch.ones_like(bare), marks)
            total += (even * weight).sum(dim=0, keepdim=True)
            weights += weight.sum(dim=0, keepdim=True)
            count += len(even)
        # Where nearly everybody has hair, the skin continues that of the surroundings.
        bare = ((weights / max(count, 1) - _BARE[0]) / (_BARE[1] - _BARE[0])).clamp(0.0, 1.0) * self.inside_11hw
        mean = pull_push(total / weights.clamp_min(1e-6) * bare, bare)
        self.even_13hw.copy_(to_linear(mean) * self.inside_11hw)

    def like(self, even_b3hw: Tensor, weight_b1hw: Tensor) -> Tensor:
        """The average skin (b, 3, h, w), linear, in the tone of an even texture of any size.

        One gain per channel brings its mean over the weighted texels to the texture's.
        """
        average = resized(self.even_13hw, even_b3hw)
        weight = weight_b1hw * resized(self.inside_11hw, even_b3hw)
        texture = torch.where(weight > 0, even_b3hw, 0.0)
        theirs, ours = ((m * weight).sum(dim=(2, 3), keepdim=True) for m in (texture, average.expand_as(texture)))
        return average * (theirs.clamp_min(_DARK) / ours.clamp_min(_DARK))


def skin_texels(skin: CapturedSkin, head: Head) -> Tensor:
    """1 where captures show skin (b, 1, h, w), with its brows, lashes and beard; 0 on the scalp and on hair around it.

    Hair does not come from the texture networks: the scalp is painted at the end.
    """
    size = skin.diffuse_b3hw.shape[-1]
    marks = _marks(head, size).to(skin.diffuse_b3hw)
    even = to_srgb(light_normalized(skin).clamp(0.0, 1.0))
    bare = torch.lerp(_bare(even, skin.inside_11hw * (1 - marks)), torch.ones_like(even[:, :1]), marks)
    bare[:, :, size // 2 :] = 1.0  # below is the beard
    scalp = _texels(head, head.region("scalp"), size).to(even)
    return (bare > 0.5).to(even) * (scalp < 0.05) * skin.inside_11hw


def _bare(even_b3hw: Tensor, plain_b1hw: Tensor) -> Tensor:
    """In [0.01, 1], how little each texel looks like hair: hair is darker than the person's skin, or greyer.

    ``even``: sRGB-encoded; ``plain``: 1 where skin is neither brow nor lid nor lip.
    """
    bare = torch.ones_like(even_b3hw[:, :1])
    middle = _middle(even_b3hw.shape[-1]).to(even_b3hw.device)
    for trait in (even_b3hw.mean(dim=1, keepdim=True), even_b3hw[:, :1] - even_b3hw[:, 2:]):
        face = (trait * plain_b1hw).flatten(1)[:, middle]
        usual = face.quantile(0.7, dim=1)[:, None, None, None].clamp_min(_DARK)
        bare = bare * ((trait / usual - _HAIRY[0]) / (_HAIRY[1] - _HAIRY[0])).clamp(0.01, 1.0)
    return bare


def _texels(head: Head, member_v: NDArray[np.bool_], size: int) -> Tensor:
    """Share of a region's vertices at each texel (1, 1, size, size)."""
    member = torch.tensor(member_v).float()[None, :, None]
    return interpolate(chart(head, size), torch.tensor(head.triangles_f3), member)


def _marks(head: Head, size: int) -> Tensor:
    """1 on brows, eyes, nose and mouth (1, 1, size, size) and a little around them, where dark texels belong."""
    found = _texels(head, np.any([head.region(name) for name in _DARK_PLACES], axis=0), size)
    reach = 2 * max(1, size // 40) + 1
    return (max_pool2d(found, reach, stride=1, padding=reach // 2) > 0.3).float()


def _middle(size: int) -> Tensor:
    """Flat indices of the chart's middle, where the face lies."""
    rows = torch.arange(size // 4, 3 * size // 4)
    return (rows[:, None] * size + rows[None]).flatten()
