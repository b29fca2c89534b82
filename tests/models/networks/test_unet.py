import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mosar.errors import ConfigError
from mosar.models.networks.blocks import coordinates
from mosar.models.networks.patchgan import CriticConfig, PatchDiscriminator
from mosar.models.networks.unet import UNet, UNetConfig


@settings(max_examples=10, deadline=None)
@given(height=st.integers(5, 40), width=st.integers(5, 40), fold=st.sampled_from([1, 2]), levels=st.integers(1, 3))
def test_output_has_the_size_of_the_input(height, width, fold, levels):
    network = UNet(4, 2, UNetConfig(width=8, levels=levels, blocks=1, fold=fold))
    assert network(torch.rand(2, 4, height, width)).shape == (2, 2, height, width)


def test_samples_of_a_batch_do_not_see_each_other():
    network = UNet(3, 3, UNetConfig(width=8, levels=2, blocks=1))
    maps = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(network(maps)[1:2], network(maps[1:2]))


def test_tone_of_the_whole_map_gets_through():
    network = UNet(3, 3, UNetConfig(width=8, levels=2, blocks=1))
    flat = torch.ones(1, 3, 16, 16)
    with torch.no_grad():
        assert float((network(flat) - network(3 * flat)).abs().max()) > 1e-4


def test_coordinates_are_texel_centres_with_v_up():
    found = coordinates(torch.zeros(2, 5, 2, 4))
    assert found.shape == (2, 2, 2, 4)
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([-0.75, -0.25, 0.25, 0.75]))
    torch.testing.assert_close(found[1, 1, :, 0], torch.tensor([0.5, -0.5]))


def test_critic_scores_patches():
    critic = PatchDiscriminator(3, CriticConfig(width=8, levels=2))
    maps = torch.rand(1, 3, 32, 32)
    assert critic(maps).shape == (1, 1, 8, 8)
    changed = maps.clone()
    changed[..., :4, :4] += 1.0
    assert not torch.equal(critic(maps)[..., 0, 0], critic(changed)[..., 0, 0])


@pytest.mark.parametrize("values", [{"width": 0}, {"levels": 0}, {"blocks": 0}, {"fold": 0}])
def test_impossible_sizes_are_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        UNetConfig(**values)


def test_a_critic_without_weight_is_refused():
    with pytest.raises(ConfigError, match="critic: null"):
        CriticConfig(weight=0.0)
