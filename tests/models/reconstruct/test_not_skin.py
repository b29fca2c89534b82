"""Texels that colour tells from skin: white collars on the neck, the ends of a fringe on the forehead."""

import pytest
import torch

from mosar.models.reconstruct.not_skin import without_collars, without_fringe
from mosar.models.reconstruct.seen import BASE, Seen
from mosar.models.reconstruct.tone import Tone
from mosar.models.texture_space import Lighting
from mosar.models.uv import texels_of

SKIN = torch.tensor([0.4, 0.25, 0.18])
TONE = Tone((0.4, 0.25, 0.18), 0.2, 0.35, ())
SHADE = 2.0


@pytest.fixture
def light():
    shading = torch.full((1, 3, BASE, BASE), SHADE)
    return Lighting(shading, torch.zeros_like(shading))


def photograph(colour_hw3, weight_hw):
    """A photograph in which the skin has these even colours; the avatar's maps have twice as many texels."""
    small = SHADE * colour_hw3.permute(2, 0, 1)[None] * (weight_hw > 0)
    weight = weight_hw[None, None].float()
    large, seen = (m.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2) for m in (small, weight))
    return Seen(large, seen, small, weight)


def test_the_dark_ends_of_a_fringe_are_left_out_and_nothing_else(head, light):
    forehead = texels_of(head, head.region("forehead"), BASE)
    rows = forehead.any(dim=1).nonzero().flatten()
    top, middle = int(rows[0]), int(rows[0] + rows[-1]) // 2
    across = slice(BASE // 2 - 40, BASE // 2 + 40)
    weight = torch.ones(BASE, BASE, dtype=torch.bool)
    weight[: top + 6] = False  # hair
    colour = SKIN.expand(BASE, BASE, 3).clone()
    colour[top + 6 : top + 14, across] *= 0.4  # the ends of the hair
    colour[middle + 2 : middle + 5, across] *= 0.4  # a dark spot of skin, apart from the hair
    dark_cheek = slice(BASE // 2, BASE // 2 + 20)
    colour[dark_cheek, across] *= 0.4
    seen = photograph(colour, weight)
    found = without_fringe(head, seen, light, TONE)
    ends = torch.zeros(BASE, BASE, dtype=torch.bool)
    ends[top + 6 : top + 14, across] = True
    ends &= forehead
    assert int(ends.sum()) > 200
    assert float(found.small_weight_11hw[0, 0][ends].max()) == 0
    below = slice(middle, None)
    assert torch.equal(found.small_weight_11hw[..., below, :], seen.small_weight_11hw[..., below, :])
    assert torch.equal(found.colour_13hw == 0, (found.weight_11hw == 0).expand(-1, 3, -1, -1))
    large = ends.repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)
    assert float(found.weight_11hw[0, 0][large].max()) < 0.5


def test_a_forehead_without_hair_stays(head, light):
    """A bald man's dark forehead hangs together with nothing that is hidden."""
    seen = photograph(0.4 * SKIN.expand(BASE, BASE, 3), torch.ones(BASE, BASE, dtype=torch.bool))
    found = without_fringe(head, seen, light, TONE)
    assert torch.equal(found.weight_11hw, seen.weight_11hw)


def test_a_white_collar_on_the_neck_is_left_out_and_a_pale_cheek_stays(head, light):
    neck, cheek = (texels_of(head, head.region(name), BASE) for name in ("neck", "cheek"))
    colour = SKIN.expand(BASE, BASE, 3).clone()
    rows = neck.any(dim=1).nonzero().flatten()
    white = torch.zeros(BASE, BASE, dtype=torch.bool)
    white[int(rows[-1]) - 60 :] = True
    colour[(neck & white) | cheek] = 0.6
    seen = photograph(colour, torch.ones(BASE, BASE, dtype=torch.bool))
    found = without_collars(head, seen, light, TONE).small_weight_11hw[0, 0]
    assert float(found[neck & white].max()) == 0
    assert float(found[cheek].min()) == 1
