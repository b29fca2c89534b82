import numpy as np
import pytest
import torch

from mosar.datasets import lights
from mosar.models.shading import irradiance, sh


def test_all_eight_lights_are_available():
    maps = lights.load_lights()
    assert sorted(maps) == sorted(lights.TRAIN_LIGHTS + lights.HELD_OUT_LIGHTS)
    assert all(m.shape == (128, 256, 3) and m.min() >= 0 and np.isfinite(m).all() for m in maps.values())
    assert not set(lights.TRAIN_LIGHTS) & set(lights.HELD_OUT_LIGHTS)


@pytest.mark.parametrize("name", ["studio", "city"])
def test_background_and_coefficients_agree(name):
    light = lights.random_light(np.random.default_rng(3), [name], lamps=0)
    directions = sh.environment_directions(128, 256).numpy()
    seen = lights.radiance(light, directions.reshape(-1, 3)).reshape(directions.shape)
    projected = sh.from_environment(torch.from_numpy(seen)).numpy()
    np.testing.assert_allclose(projected, light.sh_l3, atol=0.06 * np.abs(light.sh_l3).max())


def test_exposure_is_what_was_asked_for():
    front = torch.nn.functional.normalize(torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    front = front * front[:, 2:].sign()
    for seed in range(12):
        light = lights.random_light(np.random.default_rng(seed), lights.TRAIN_LIGHTS, exposure=0.7)
        lit = irradiance(torch.from_numpy(light.sh_l3)[None], front[None])[0] / np.pi
        seen = float(
            (lit.clamp(min=0) @ torch.tensor([0.2126, 0.7152, 0.0722]) * front[:, 2]).sum() / front[:, 2].sum()
        )
        assert 0.2 < seen < 0.75


def test_the_seed_alone_decides():
    first, again, other = (lights.random_light(np.random.default_rng(s), lights.TRAIN_LIGHTS) for s in (5, 5, 6))
    assert np.array_equal(first.sh_l3, again.sh_l3)
    assert not np.array_equal(first.sh_l3, other.sh_l3)
