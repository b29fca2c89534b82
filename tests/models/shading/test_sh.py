import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import sph_harm_y

from mosar.models.shading import series, sh


def directions(count, seed=0):
    at = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(at, dim=-1)


def lights(batch=2, bands=9, seed=0, channels=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, bands**2, channels, generator=generator, dtype=torch.float64)


def rotation(seed):
    q, r = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    q = q * torch.sign(torch.diagonal(r))
    return q * torch.sign(torch.linalg.det(q))


def test_equals_scipy():
    at = directions(50)
    theta, phi = np.arccos(at[:, 2].numpy()), np.arctan2(at[:, 1].numpy(), at[:, 0].numpy())
    ours = sh.evaluate(at).numpy()
    for degree in range(9):
        for m in range(-degree, degree + 1):
            theirs = sph_harm_y(degree, abs(m), theta, phi) * (-1) ** m  # scipy's has the Condon-Shortley sign
            part = theirs.imag if m < 0 else theirs.real
            expected = part * (math.sqrt(2) if m else 1)
            np.testing.assert_allclose(ours[:, degree * degree + degree + m], expected, atol=1e-12)


def test_orthonormal():
    nodes, weights = sh._quadrature(9)
    basis = sh.evaluate(nodes)
    torch.testing.assert_close(
        basis.mT @ (weights[:, None] * basis), torch.eye(81, dtype=torch.float64), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("bands", [1, 2, 5, 9])
def test_series_is_the_sum(bands):
    light, at = lights(3, bands), directions(30).view(3, 10, 3)
    expected = torch.einsum("bnl,blc->bnc", sh.evaluate(at, bands), light)
    torch.testing.assert_close(sh.series(light, at), expected)
    image = torch.tensor([0] * 10 + [1] * 10 + [2] * 10)
    torch.testing.assert_close(sh.series(light, at.reshape(-1, 3), image), expected.reshape(30, 3))
    torch.testing.assert_close(sh.series(light[:1], at[0]), expected[0])
    holes = torch.tensor([0] * 4 + [2] * 6)
    torch.testing.assert_close(sh.series(light, at[0], holes)[4:], sh.series(light[2:], at[0, 4:]))


def test_series_in_many_chunks():
    light, at = lights(2), directions(2 * 9000).view(2, 9000, 3)
    torch.testing.assert_close(sh.series(light, at), torch.einsum("bnl,blc->bnc", sh.evaluate(at), light))


def test_kernels_equal_plain_torch():
    light, at, blur = lights(2), directions(150), torch.rand(150, generator=torch.Generator().manual_seed(2)).double()
    for width, tau in ((None, ()), (blur, (0.05, 0.02, 0.01))):
        results = []
        for function in (series._compiled, series.plain):
            inputs = [x.clone().requires_grad_() for x in (light, at, *([] if width is None else [width]))]
            values = function(*inputs[:2], [70, 80], inputs[2] if width is not None else None, tau)
            (values * torch.arange(450).view(150, 3)).sum().backward()
            results.append([values.detach(), *(x.grad for x in inputs)])
        for fast, slow in zip(*results, strict=True):
            torch.testing.assert_close(fast, slow)


def test_single_and_mixed_precision():
    light, at = lights(1), directions(20)
    torch.testing.assert_close(sh.series(light.float(), at.float()).double(), sh.series(light, at), atol=1e-4, rtol=0)
    assert sh.series(light, at.float()).dtype == torch.float64
    assert sh.series(light.bfloat16(), at.float()).dtype == torch.float32


def test_gradients():
    light, at = lights(2).requires_grad_(), directions(8).view(2, 4, 3).clone().requires_grad_()
    assert torch.autograd.gradcheck(sh.series, (light, at))
    assert torch.autograd.gradcheck(sh.series, (light, at[0].detach().requires_grad_(), torch.tensor([0, 0, 0, 1])))
    turn = rotation(0)[None].requires_grad_()
    assert torch.autograd.gradcheck(sh.rotate, (lights(1).requires_grad_(), turn))
    assert torch.autograd.gradcheck(
        sh.directional, (directions(2).requires_grad_(), torch.ones(2, 3).double().requires_grad_())
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 5, 9]))
def test_rotation(seed, bands):
    light, turn, at = lights(1, bands, seed), rotation(seed), directions(20, seed)[None]
    turned = sh.rotate(light, turn[None])
    torch.testing.assert_close(sh.series(turned, at @ turn.mT), sh.series(light, at))
    torch.testing.assert_close(sh.rotate(turned, turn.mT[None]), light)
    for degree in range(bands):
        band = slice(degree**2, (degree + 1) ** 2)
        torch.testing.assert_close(turned[:, band].norm(dim=1), light[:, band].norm(dim=1))


def test_rotation_in_single_precision():
    light, turn = lights(1), rotation(3)[None]
    torch.testing.assert_close(
        sh.rotate(light.float(), turn.float()).double(), sh.rotate(light, turn), atol=1e-5, rtol=0
    )


def test_environment_maps_and_back():
    light = lights(1)[0]
    for height in (18, 64):
        torch.testing.assert_close(sh.from_environment(sh.to_environment(light, height)), light)


def test_environment_axes():
    # The centre of the map is +z, u = 1/4 is +x, the top is +y.
    at = sh.environment_directions(64, 128)
    near = lambda row, column: at[row - 1 : row + 1, column - 1 : column + 1].mean((0, 1))  # noqa: E731
    torch.testing.assert_close(near(32, 64), torch.tensor([0.0, 0, 1]).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(near(32, 32), torch.tensor([1.0, 0, 0]).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(at[0].mean(0), torch.tensor([0.0, 1, 0]).double(), atol=1e-3, rtol=0)
    np.testing.assert_allclose(sh.row_solid_angles(64, 128).sum() * 128, 4 * np.pi)


def test_constant_light():
    light = sh.from_environment(torch.full((32, 64, 3), 0.7).double())
    expected = torch.zeros(81, 3).double()
    expected[0] = 0.7 * math.sqrt(4 * math.pi)
    torch.testing.assert_close(light, expected)


def test_directional_light_is_its_environment():
    at = directions(1)
    light = sh.directional(at, torch.tensor([[1.0, 2, 3]]).double())
    torch.testing.assert_close(light[0], sh.evaluate(at).mT * torch.tensor([1.0, 2, 3]))


def test_window_keeps_the_mean_and_lowers_the_rest():
    light = lights()
    windowed = sh.window(light)
    torch.testing.assert_close(windowed[:, 0], light[:, 0])
    assert bool((windowed.abs() <= light.abs()).all())


def test_wrong_shapes_are_named():
    for match, call in [
        (r"\(2, 80, 3\)", lambda: sh.series(lights()[:, :80], directions(4)[None])),
        (r"\(4, 2\)", lambda: sh.series(lights(), directions(4)[:, :2])),
        (r"\(2, 81, 3\).*\(4, 3\)", lambda: sh.series(lights(), directions(4))),
        ("ascend", lambda: sh.series(lights(), directions(2), torch.tensor([1, 0]))),
        ("ascend", lambda: sh.series(lights(), directions(2), torch.tensor([0, 2]))),
        ("ascend", lambda: sh.series(lights(), directions(2), torch.tensor([-1, 0]))),
        (r"\(3, 3\)", lambda: sh.rotate(lights(), rotation(0))),
        (r"\(4, 4\)", lambda: sh.from_environment(torch.zeros(4, 4))),
    ]:
        with pytest.raises(ValueError, match=match):
            call()
