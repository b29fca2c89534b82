"""Grain of filled skin."""

import pytest
import torch

from mosar.models.reconstruct.detail import add_grain, grain
from mosar.models.reconstruct.smooth import noise


@pytest.mark.parametrize("size", [512, 1024, 2048])
def test_filled_skin_is_as_grainy_as_seen_skin_at_every_size(size):
    generator = torch.Generator().manual_seed(0)
    fine, coarse = noise(size, 2.0, generator), noise(size, 6.0 * size / 512, generator)
    texture = (0.5 + 0.02 * fine + 0.02 * coarse).expand(1, 3, size, size)
    known = torch.zeros(1, 1, size, size)
    known[..., : size // 2] = 1.0
    bands = grain(texture, known, torch.zeros(1, 1, 512, 512))
    filled = add_grain(torch.lerp(torch.full_like(texture, 0.5), texture, known), known, bands, generator)

    def neighbours(part):
        return float((part[..., 1:] - part[..., :-1]).std())

    seen, made = filled[..., : size // 2], filled[..., size // 2 :]
    assert neighbours(made) == pytest.approx(neighbours(seen), rel=0.4)
    assert 0.5 < float(made.std() / seen.std()) < 1.3
    torch.testing.assert_close(seen, texture[..., : size // 2])


def test_skin_of_which_too_little_is_seen_gets_no_grain():
    texture = 0.5 + 0.1 * torch.randn(1, 3, 512, 512, generator=torch.Generator().manual_seed(1))
    known = torch.zeros(1, 1, 512, 512)
    assert all(deviation == 0 for _, deviation in grain(texture, known, known))
