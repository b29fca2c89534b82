import torch

from mosar.models.networks import bilateral_grid
from mosar.models.networks.bilateral_grid import LEVELS, Correction
from mosar.models.networks.unet import UNetConfig


def grid_of(gains, cells=4):
    """A grid whose logarithms of gains depend on the level alone, with offsets of zero."""
    grid = torch.zeros(1, 2, LEVELS, cells, cells)
    grid[:, 0] = torch.tensor(gains)[None, :, None, None]
    return grid


def test_a_new_correction_is_the_identity():
    correction = Correction(3, 3, 4, UNetConfig(width=8, levels=2, blocks=1))
    texture = torch.rand(2, 3, 40, 40)
    found = bilateral_grid.apply(correction(torch.rand(2, 3, 16, 16)), texture, texture.mean(1, keepdim=True))
    torch.testing.assert_close(found, texture)


def test_the_guide_chooses_the_level():
    grid = grid_of([0.0, 0.1, 0.2, 0.3])
    one = torch.ones(1, 1, 8, 8)
    for guide, gain in ((0.0, 0.0), (1.0, 0.3), (0.5, 0.15)):
        found = bilateral_grid.apply(grid, one, guide * one)
        torch.testing.assert_close(found.log(), gain * one, atol=1e-5, rtol=0)


def test_an_edge_in_the_guide_is_an_edge_in_the_gain_and_detail_stays():
    grid = grid_of([0.0, 0.0, 0.5, 0.5])
    guide = torch.zeros(1, 1, 32, 32)
    guide[..., 16:] = 1
    detail = 1 + 0.1 * torch.rand(1, 1, 32, 32)
    gain = bilateral_grid.apply(grid, detail, guide) / detail
    torch.testing.assert_close(gain[..., :16], torch.ones(1, 1, 32, 16))
    torch.testing.assert_close(gain[..., 16:], torch.full((1, 1, 32, 16), 0.5).exp())


def test_large_maps_in_bands_are_the_same(monkeypatch):
    grid = torch.randn(1, 2, LEVELS, 4, 4)
    texture, guide = torch.rand(1, 1, 50, 30), torch.rand(1, 1, 50, 30)
    whole = bilateral_grid.apply(grid, texture, guide)
    monkeypatch.setattr(bilateral_grid, "_BAND", 90)
    with torch.no_grad():
        torch.testing.assert_close(bilateral_grid.apply(grid, texture, guide), whole)


def test_corrections_are_bounded():
    correction = Correction(1, 3, 4, UNetConfig(width=8, levels=2, blocks=1))
    torch.nn.init.normal_(correction.network.last.weight, std=100.0)
    gain, offset = correction(torch.rand(1, 1, 16, 16)).split(3, dim=1)
    assert float(gain.detach().abs().max()) <= 1
    assert float(offset.detach().abs().max()) <= 0.25
