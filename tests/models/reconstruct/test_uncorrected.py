"""Maps that no network corrected."""

import importlib

import torch

from mosar.models.reconstruct.uncorrected import uncorrected
from mosar.models.stages.intrinsics.network import OPEN
from mosar.models.texture_space import Lighting, even_gloss
from mosar.models.texture_space.lighting import SPECULAR

SIZE = 32
NAMES = ("completion", "delight", "intrinsics", "normals")


def test_networks_correct_nothing_any_more_and_the_given_ones_stay(head):
    modules = {}
    for name in NAMES:
        package = importlib.import_module(f"mosar.models.stages.{name}")
        config = package.Config(map_size=SIZE, **({"patch": 8} if name == "normals" else {"cells": 8}))
        torch.manual_seed(1)
        modules[name] = package.Stage(config, head).build({}).eval()
        with torch.no_grad():
            for parameter in modules[name].parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    before = {name: {k: v.clone() for k, v in m.state_dict().items()} for name, m in modules.items()}
    plain = uncorrected(modules)
    texture = 0.2 + 0.6 * torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    light = Lighting(1.0 + 0.2 * torch.ones_like(texture), 0.01 * torch.ones_like(texture))
    ones = torch.ones_like(texture[:, :1])
    with torch.no_grad():
        lit = light.lit(texture)
        torch.testing.assert_close(plain["completion"](lit, ones, light), lit, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(plain["delight"](lit, light, ones), texture, atol=1e-5, rtol=1e-5)
        found = plain["intrinsics"](texture, 0.9 * ones)
        first = (texture / max(0.9, OPEN) - float(even_gloss(SPECULAR))).clamp(0.0, 1.0)
        torch.testing.assert_close(found.diffuse_b3hw, first, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found.ao_b1hw, 0.9 * ones, atol=1e-4, rtol=1e-4)
        one, other = (plain["normals"](t) for t in (texture, texture.flip(-1)))
        torch.testing.assert_close(one, other)
        assert not torch.allclose(modules["normals"](texture), modules["normals"](texture.flip(-1)))
        assert not torch.allclose(modules["delight"](lit, light, ones), texture, atol=1e-3)
    for name, state in before.items():
        assert all(torch.equal(state[key], value) for key, value in modules[name].state_dict().items())
