"""What `delight` alone can learn from: the light that is left, photographs, a critic, a source flag."""

import importlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from stage_recipes import generator, recipe

from mosar.errors import ConfigError
from mosar.models.colour import to_srgb
from mosar.models.networks.patchgan import CriticConfig

SIZE = 32


def test_delight_can_learn_to_change_captures_as_light_would(head, make_captures):
    """Training on ``unexplained`` alone lowers it, and only a weight above 0 adds it to the losses."""
    module, config = recipe("delight", "tiny")
    config, batch = replace(config, map_size=SIZE, unexplained_weight=2.0), {"lightstage": make_captures(3, SIZE, 3)}
    stage = module.Stage(config, head)
    torch.manual_seed(0)
    network = stage.build({})
    stage.fit_statistics(network, [batch])
    with torch.no_grad():
        network.correction.network.last.weight.normal_(0.0, 0.3, generator=generator(2))
    losses = stage.losses(network, batch, generator())
    before = losses["unexplained"].item()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for step in range(25):
        optimiser.zero_grad()
        stage.losses(network, batch, generator(step % 2))["unexplained"].backward()
        optimiser.step()
    assert stage.losses(network, batch, generator())["unexplained"].item() < 0.7 * before
    without = module.Stage(replace(config, unexplained_weight=0.0), head).losses(network, batch, generator())
    assert losses.keys() - without.keys() == {"unexplained"}


def test_a_critic_of_delight_tells_textures_of_photographs_from_true_ones(head, make_captures, estimated):
    """It learns to tell green photographs. Corrections get a gradient from it, and it gets none from theirs."""
    module, config = recipe("delight", "tiny")
    config = replace(config, map_size=SIZE, photograph_share=0.5, critic=CriticConfig(1.0, 8, 2))
    stage = module.Stage(config, head)
    torch.manual_seed(0)
    network = stage.build({})
    photographs = estimated(make_captures(3, SIZE, 4))
    photographs["unwrapped"] = photographs["unwrapped"] // torch.tensor([2, 1, 2])[:, None, None]
    batch = {
        "lightstage": make_captures(2, SIZE, 3),
        "wild": {field: photographs[field] for field in stage.streams["wild"].fields},
    }
    stage.fit_statistics(network, [batch])
    first = stage.losses(network, batch, generator())["discriminator"].item()
    optimiser = torch.optim.AdamW(network.critic.parameters(), lr=1e-2)
    for step in range(30):
        optimiser.zero_grad()
        stage.losses(network, batch, generator(step % 2))["discriminator"].backward()
        optimiser.step()
    losses = stage.losses(network, batch, generator())
    assert losses["discriminator"].item() < 0.5 * first
    of_grid = list(network.correction.network.last.parameters())
    assert any(bool(g.any()) for g in torch.autograd.grad(losses["adversarial"], of_grid, retain_graph=True))
    network.zero_grad()
    losses["adversarial"].backward(retain_graph=True)
    assert all(p.grad is None for p in network.critic.parameters())
    with pytest.raises(ConfigError, match="judges photographs"):
        replace(config, photograph_share=0.0)


def test_delight_learns_to_leave_no_light(head, make_captures):
    module, config = recipe("delight", "tiny")
    config = replace(config, map_size=SIZE, light_weight=1.0)
    stage = module.Stage(config, head)
    torch.manual_seed(0)
    batch = {"lightstage": make_captures(4, SIZE, 3)}
    network = stage.build({})
    stage.fit_statistics(network, [batch])
    before = stage.losses(network, batch, generator())["light"].item()
    assert before > 1e-5
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(25):
        optimiser.zero_grad()
        stage.losses(network, batch, generator())["light"].backward()
        optimiser.step()
    assert stage.losses(network, batch, generator())["light"].item() < 0.1 * before


def test_a_source_flag_tells_captures_apart_while_it_trains(head, make_captures, estimated):
    """Zero at first, so both are alike; it learns from captures, and nothing of it reaches photographs."""
    module, config = recipe("delight", "tiny")
    config = replace(config, map_size=SIZE, photograph_share=0.5, source_flag=True)
    stage = module.Stage(config, head)
    torch.manual_seed(0)
    network = stage.build({})
    photographs = estimated(make_captures(2, SIZE, 4))
    batch = {
        "lightstage": make_captures(4, SIZE, 3),
        "wild": {field: photographs[field] for field in stage.streams["wild"].fields},
    }
    stage.fit_statistics(network, [batch])
    with torch.no_grad():
        network.correction.network.last.weight.normal_(0.0, 0.3, generator=generator(2))
    losses = stage.losses(network, batch, generator())
    (of_photographs,) = torch.autograd.grad(
        losses["photographs"], network.source_2i, retain_graph=True, allow_unused=True
    )
    assert of_photographs is None
    (of_captures,) = torch.autograd.grad(sum(losses.values()), network.source_2i)
    assert bool((of_captures != 0).all())
    before = stage.metrics(network, batch, generator())
    with torch.no_grad():
        network.source_2i += 0.5
    assert stage.losses(network, batch, generator())["photographs"].equal(losses["photographs"])
    assert not stage.losses(network, batch, generator())["l1"].equal(losses["l1"])
    after = stage.metrics(network, batch, generator())  # held-out captures are judged as photographs
    assert all(after[name].equal(value) for name, value in before.items())
    with pytest.raises(ConfigError, match="tells captures from photographs"):
        replace(config, photograph_share=0.0)


def test_a_critic_sees_no_more_than_photographs_show():
    """Maps of 256 texels are judged at 128, and true textures behind the holes of the photographs."""
    judged = importlib.import_module("mosar.models.stages.delight.stage")._judged
    known = torch.ones(1, 1, 256, 256)
    known[..., :128] = 0
    pair = SimpleNamespace(truth_b3hw=torch.full((3, 3, 256, 256), 0.25))
    fake, real = judged(torch.full((1, 3, 256, 256), 0.5), known, pair)
    assert (fake.shape, real.shape) == ((1, 4, 128, 128), (3, 4, 128, 128))
    assert not fake[..., :64].any()
    assert not real[..., :64].any()
    assert torch.allclose(real[:, :3, :, 64:], torch.tensor(0.25))
    assert torch.allclose(fake[:, :3, :, 64:], to_srgb(torch.tensor(0.5)))
