import pytest
import torch

from mosar.models.stages.normals.network import unit_normals
from mosar.models.stages.normals.patches import PatchBasis


@pytest.fixture
def maps():
    """Mixtures of four random maps: four components per place suffice."""
    generator = torch.Generator().manual_seed(0)
    modes = torch.randn(4, 2, 32, 32, generator=generator)
    return torch.einsum("bm,mchw->bchw", torch.randn(20, 4, generator=generator), modes) + 0.3


def test_enough_components_reproduce_the_map(maps):
    basis = PatchBasis(2, 32, 8, 6)
    basis.fit(maps)
    # Components in half precision: a two thousandth of the maps' range at most.
    span = float(maps.max() - maps.min())
    torch.testing.assert_close(basis.compose(basis.project(maps)), maps, atol=5e-4 * span, rtol=0)
    assert bool((basis.components_pkd[:, 5:].abs() < 1e-3).all())


def test_coefficients_are_in_standard_deviations(maps):
    basis = PatchBasis(2, 32, 8, 4)
    basis.fit(maps)
    coefficients = basis.project(maps)
    torch.testing.assert_close(coefficients.mean(dim=0), torch.zeros(basis.across**2, 4), atol=1e-3, rtol=0)
    torch.testing.assert_close(coefficients.std(dim=0), torch.ones(basis.across**2, 4), atol=1e-3, rtol=0)


def test_strengths_of_components_are_the_singular_values(maps):
    basis = PatchBasis(2, 32, 8, 3)
    basis.fit(maps)
    place = basis.across + 2  # second row, third column: rows 4 to 11, columns 8 to 15
    patches = maps[:, :, 4:12, 8:16].reshape(20, -1)
    values = torch.linalg.svdvals(patches - patches.mean(dim=0))[:3] / 19**0.5
    torch.testing.assert_close(basis.components_pkd[place].float().norm(dim=1), values, rtol=1e-3, atol=1e-4)


def test_zero_coefficients_give_the_mean(maps):
    basis = PatchBasis(2, 32, 8, 4)
    basis.fit(maps)
    torch.testing.assert_close(basis.compose(torch.zeros(1, basis.across**2, 4)), maps.mean(dim=0, keepdim=True))


def test_one_capture_is_its_own_mean(maps):
    basis = PatchBasis(2, 32, 8, 4)
    basis.fit(maps[:1])
    assert not bool(basis.components_pkd.any())
    torch.testing.assert_close(basis.mean_1chw, maps[:1])


def test_half_precision_turns_normals_by_less_than_a_tenth_of_a_level_of_eight_bits(maps):
    basis = PatchBasis(2, 32, 8, 6)
    slopes = 0.1 * maps  # as steep as wrinkles
    basis.fit(slopes)
    coefficients = torch.randn(4, basis.across**2, 6, generator=torch.Generator().manual_seed(1))
    held = unit_normals(basis.compose(coefficients))
    assert basis.components_pkd.dtype == torch.float16
    basis.components_pkd = _components(basis, slopes)
    full = unit_normals(basis.compose(coefficients))
    turn = torch.linalg.cross(held, full, dim=1).norm(dim=1).asin().rad2deg()
    assert 0 < float(turn.max()) < 0.045


def _components(basis, maps):
    """The components that ``basis`` finds, in full precision."""
    twin = PatchBasis(2, basis.size, basis.patch, basis.components_pkd.shape[1])
    twin.components_pkd = twin.components_pkd.float()
    twin.fit(maps)
    return twin.components_pkd


def test_unit_normals_are_unit_and_point_outwards():
    slope = 2.0 * torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    normal = unit_normals(slope)
    torch.testing.assert_close(normal.norm(dim=1), torch.ones(1, 8, 8))
    assert float(normal[:, 2].min()) > 0.3
