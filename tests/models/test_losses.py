import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import nn

from mosar.models.losses import adversarial, cosine, gradient, l1, psnr, resized, ssim, total, weighted_mean


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(2, 3, 8, 8, generator=generator, dtype=torch.float64) for _ in range(2))


@pytest.fixture
def hole():
    weight = torch.ones(2, 1, 8, 8, dtype=torch.float64)
    weight[:, :, :3] = 0
    return weight


@pytest.mark.parametrize("loss", [l1, gradient, cosine, ssim])
def test_texels_without_weight_change_nothing(loss, maps, hole):
    a, b = maps
    other = a.clone()
    other[:, :, :3] = 7.0
    if loss is ssim:  # its windows cross the edge of the hole: only texels far from it are unaffected
        hole = hole.clone()
        hole[:, :, :7] = 0
    torch.testing.assert_close(loss(a, b, hole), loss(other, b, hole))
    assert not torch.equal(loss(a, b), loss(other, b))


@pytest.mark.parametrize("loss", [l1, gradient, cosine])
def test_equal_maps_cost_nothing(loss, maps):
    assert float(loss(maps[0], maps[0])) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("loss", [l1, gradient, cosine, ssim])
def test_gradients(loss, maps, hole):
    a, b = (m[:1, :, :6, :6].clone() for m in maps)
    assert torch.autograd.gradcheck(lambda x: loss(x, b, hole[:1, :, :6, :6]), a.requires_grad_())


def test_l1_is_the_mean_over_the_weight(maps, hole):
    a, b = maps
    torch.testing.assert_close(l1(a, b, hole), (a - b).abs()[:, :, 3:].mean())
    assert float(weighted_mean(a, torch.zeros_like(hole))) == 0


def test_gradient_by_hand():
    truth = torch.zeros(1, 1, 4, 4)
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    # Along a row, differences are 1 at the first scale and 2 at the second (means of pairs); along columns they are 0.
    torch.testing.assert_close(gradient(ramp, truth, scales=2), torch.tensor((1.0 + 0 + 2.0 + 0) / 4))


def test_cosine_by_hand():
    x, y = torch.zeros(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)
    x[0, 0], y[0, 1] = 2.0, 5.0
    assert float(cosine(x, y)) == pytest.approx(1)
    assert float(cosine(x, -x)) == pytest.approx(2)


def test_ssim_agrees_with_scikit_image():
    generator = torch.Generator().manual_seed(1)
    a = torch.rand(1, 1, 24, 24, generator=generator, dtype=torch.float64)
    b = (0.7 * a + 0.3 * torch.rand(1, 1, 24, 24, generator=generator, dtype=torch.float64)).clamp(0, 1)
    _, reference = structural_similarity(
        a[0, 0].numpy(), b[0, 0].numpy(), win_size=7, data_range=1.0, use_sample_covariance=False, full=True
    )
    inner = torch.zeros(1, 1, 24, 24, dtype=torch.float64)
    inner[..., 3:-3, 3:-3] = 1
    assert float(ssim(a, b, inner)) == pytest.approx(np.mean(reference[3:-3, 3:-3]), abs=1e-6)
    assert float(ssim(a, a)) == pytest.approx(1)


def test_psnr_by_hand():
    a = torch.full((1, 3, 4, 4), 0.5)
    assert float(psnr(a, a + 0.1)) == pytest.approx(20.0, abs=1e-3)


def test_adversarial_losses_stay_apart():
    torch.manual_seed(0)
    critic = nn.Conv2d(1, 1, 3)
    made = torch.rand(1, 1, 6, 6, requires_grad=True)
    losses = adversarial(critic, made, torch.rand(1, 1, 6, 6), weight=0.5)
    (for_made,) = torch.autograd.grad(losses["adversarial"], made, retain_graph=True)
    assert bool(for_made.any())
    assert all(
        g is None
        for g in torch.autograd.grad(
            losses["adversarial"], list(critic.parameters()), retain_graph=True, allow_unused=True
        )
    )
    assert torch.autograd.grad(losses["discriminator"], made, retain_graph=True, allow_unused=True) == (None,)
    assert all(g is not None for g in torch.autograd.grad(losses["discriminator"], list(critic.parameters())))
    torch.testing.assert_close(losses["adversarial"], -0.5 * critic(made).mean())


def test_total_and_resized():
    assert float(total({"a": torch.tensor(1.0), "b": torch.tensor(2.0)})) == 3
    ones = torch.ones(1, 2, 4, 6)
    assert resized(ones, torch.zeros(1, 1, 8, 3)).shape == (1, 2, 8, 3)
    assert resized(ones, ones) is ones
    assert math.isclose(float(resized(ones, torch.zeros(1, 1, 8, 3)).mean()), 1.0)
