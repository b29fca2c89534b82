"""Corrections of photographs: what another light explains is free, the rest counts."""

import pytest
import torch

from mosar.models.colour import to_srgb
from mosar.models.shading import sh
from mosar.models.stages.reshading import light_left, unexplained

SIZE = 24


@pytest.fixture
def face():
    """Textures, the normals of a ball, and weights; in a quarter nothing is seen."""
    generator = torch.Generator().manual_seed(0)
    across = torch.linspace(-0.9, 0.9, SIZE)
    x, y = across.expand(SIZE, SIZE), across[:, None].expand(SIZE, SIZE)
    z = (1 - x.square() - y.square()).clamp_min(0.05).sqrt()
    normal = torch.nn.functional.normalize(torch.stack([x, y, z]), dim=0).expand(2, -1, -1, -1)
    texture = 0.2 + 0.3 * torch.rand(2, 3, SIZE, SIZE, generator=generator)
    weight = torch.ones(2, 1, SIZE, SIZE)
    weight[..., : SIZE // 2, : SIZE // 2] = 0
    return texture, normal, weight


def smooth(normal):
    """Another light's shading, different in each channel."""
    coefficients = 0.15 * torch.randn(16, 3, generator=torch.Generator().manual_seed(1))
    return (sh.evaluate(normal.permute(0, 2, 3, 1), 4) @ coefficients).permute(0, 3, 1, 2).exp()


def test_another_light_explains_a_smooth_function_of_the_normal(face):
    texture, normal, weight = face
    change = smooth(normal)
    assert float((to_srgb(texture * change) - to_srgb(texture)).abs().mean()) > 0.02
    assert float(unexplained(texture, texture * change, normal, weight)) < 3e-3
    assert float(unexplained(texture, texture, normal, weight)) == 0


def test_a_shadow_is_not_explained_and_counts_by_its_size(face):
    texture, normal, weight = face
    stripes = torch.ones(1, 1, SIZE, SIZE)
    stripes[..., ::4, :] = 0.6
    light, dark = (unexplained(texture, texture * stripes**k, normal, weight) for k in (0.3, 1.0))
    assert float(dark) > 2 * float(light) > 0.01
    both = unexplained(texture, texture * stripes * smooth(normal), normal, weight)
    assert float(both) == pytest.approx(float(dark), rel=0.15)


def test_what_is_not_seen_does_not_count_and_the_rest_has_gradients(face):
    texture, normal, weight = face
    hidden = torch.where(weight > 0, texture, 3 * texture)
    assert float(unexplained(texture, hidden, normal, weight)) < 1e-6
    after = (
        texture * (1 + 0.2 * torch.rand(texture.shape, generator=torch.Generator().manual_seed(2)))
    ).requires_grad_()
    unexplained(texture, after, normal, weight).backward()
    assert after.grad is not None
    seen = weight.expand_as(after) > 0
    assert bool(after.grad[seen].any())
    assert not bool(after.grad[~seen].any())


def test_the_light_that_is_left_is_measured_and_nothing_else(face):
    texture, normal, weight = face
    shading = 1.0 + 0.6 * normal[:, :1].expand(-1, 3, -1, -1)
    lit = texture * shading.sqrt()
    hidden = torch.where(weight > 0, lit, 0.9)
    # An even light counts less, so it is a little below one half.
    assert light_left(hidden, texture, shading, weight).tolist() == pytest.approx([0.5, 0.5], abs=0.08)
    assert light_left(texture / shading, texture, shading, weight).max() < -0.8  # too much was taken off
    assert light_left(1.7 * texture, texture, shading, weight).abs().max() < 0.01  # brighter all over
    even = torch.ones_like(shading)  # it tells nothing
    assert light_left(lit, texture, even, weight).abs().max() < 1e-6
    inputs = [m[:, :, ::6, ::6].double() for m in (texture, shading)]
    true, few = texture[:, :, ::6, ::6].double() + 0.1, weight[:, :, ::6, ::6].double()
    assert torch.autograd.gradcheck(
        lambda found: light_left(found, true, inputs[1], few), inputs[0].requires_grad_(), fast_mode=True
    )
