"""Properties that all stages in texture space share."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from mosar.config import parse
from mosar.models.losses import total
from mosar.models.texture_space import light_normalized, read_maps

RECIPES = Path(__file__).parents[3] / "jobs" / "config" / "recipe"
STAGES = Path(__file__).parents[3] / "models" / "stages"
NAMES = sorted(path.parent.name for path in STAGES.glob("*/stage.py") if "texture_space import" in path.read_text())
SIZE = 32


def recipe(name, preset):
    module = importlib.import_module(f"mosar.models.stages.{name}")
    return module, parse(module.Config, yaml.safe_load((RECIPES / name / f"{preset}.yaml").read_text())["model"])


@pytest.fixture(params=NAMES)
def trained(request, head, make_captures):
    """A small stage with fitted statistics: (stage, module, batch)."""
    module, config = recipe(request.param, "tiny")
    config = replace(config, map_size=SIZE, **({"patch": 8} if request.param == "normals" else {}))
    stage = module.Stage(config, head)
    torch.manual_seed(0)
    network = stage.build({})
    stage.fit_statistics(network, [{"lightstage": make_captures(4, SIZE, seed)} for seed in (1, 2)])
    return stage, network, {"lightstage": make_captures(3, SIZE, 3)}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_losses_are_finite_and_reach_every_parameter(trained):
    stage, network, batch = trained
    losses = stage.losses(network, batch, generator())
    total(losses).backward()
    assert all(bool(value.isfinite()) for value in losses.values())
    # Hinge losses of fake and real cancel in the critic's last bias, so a gradient of zero is accepted in the critic.
    silent = [n for n, p in network.named_parameters() if p.grad is None or not ("critic" in n or bool(p.grad.any()))]
    assert not silent


def test_generator_and_critic_have_separate_gradients(trained):
    stage, network, batch = trained
    if getattr(network, "critic", None) is None:
        pytest.skip("this stage has no critic")
    losses = stage.losses(network, batch, generator())
    critic = {n: p for n, p in network.named_parameters() if n.startswith("critic.")}
    others = {n: p for n, p in network.named_parameters() if n not in critic}

    def touched(loss, parameters):
        found = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
        return any(g is not None and bool(g.any()) for g in found)

    rest = sum(value for name, value in losses.items() if name != "discriminator")
    assert touched(losses["discriminator"], critic)
    assert not touched(losses["discriminator"], others)
    assert touched(losses["adversarial"], others)
    assert not touched(rest, critic)


def test_metrics_are_repeatable_and_have_no_adversarial_terms(trained):
    stage, network, batch = trained
    first, second = (stage.metrics(network, batch, generator(5)) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not {"adversarial", "discriminator"} & first.keys()
    assert bool(first["loss"] > 0)
    assert bool(stage.baseline(network, batch, generator(5)) > 0)


def test_another_person_gives_another_prediction(trained, head, make_captures):
    """After some steps on several batches, predictions differ between people who were not among them."""
    stage, network, _ = trained
    _train(stage, network, make_captures, steps=15)
    textures = light_normalized(read_maps(make_captures(4, SIZE, 11), head))
    known = torch.zeros(4, 1, SIZE, SIZE)
    known[..., :16] = 1
    with torch.no_grad():
        found = network(textures, known) if stage.name == "completion" else network(textures)
    inputs = (textures[0] - textures[1:]).abs().mean()
    for maps in [found] if isinstance(found, torch.Tensor) else vars(found).values():
        assert maps.shape[-2:] == (SIZE, SIZE)
        assert bool(maps.isfinite().all())
        assert float((maps[0] - maps[1:]).abs().mean()) > 0.01 * float(inputs)


def test_inference_takes_maps_of_any_size(trained):
    stage, network, _ = trained
    texture = torch.rand(1, 3, 40, 52, generator=generator())
    known = torch.ones(1, 1, 40, 52)
    with torch.no_grad():
        found = network(texture, known) if stage.name == "completion" else network(texture)
    maps = [found] if isinstance(found, torch.Tensor) else list(vars(found).values())
    assert all(m.shape[-2:] == (40, 52) for m in maps)


def test_a_few_steps_lower_the_loss_of_other_people(trained, make_captures):
    stage, network, held_out = trained
    start = stage.metrics(network, held_out, generator(1))["loss"]
    _train(stage, network, make_captures, steps=20)
    assert bool(stage.metrics(network, held_out, generator(1))["loss"] < start)


def _train(stage, network, make_captures, steps):
    """Steps on three batches in turn, each step with noise of its own."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    batches = [{"lightstage": make_captures(3, SIZE, seed)} for seed in (21, 22, 23)]
    for step in range(steps):
        optimiser.zero_grad()
        total(stage.losses(network, batches[step % 3], generator(step))).backward()
        optimiser.step()


def test_preview_is_a_picture(trained):
    stage, network, batch = trained
    picture = stage.preview(network, batch, generator())
    assert picture.shape[0] == 3
    assert float(picture.min()) >= 0
    assert float(picture.max()) <= 1
    assert float(picture.std()) > 0.01


def test_state_round_trip_gives_the_same_loss(trained):
    stage, network, batch = trained
    torch.manual_seed(1)
    again = stage.build({})
    again.load_state_dict(network.state_dict())
    assert torch.equal(
        stage.metrics(network, batch, generator())["loss"], stage.metrics(again, batch, generator())["loss"]
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("preset", ["tiny", "cpu", "paper"])
def test_recipes_parse(name, preset, head):
    module, config = recipe(name, preset)
    streams = module.Stage(config, head).streams
    assert sum(spec.proportion for spec in streams.values()) == 1
    assert {spec.map_size for spec in streams.values()} == {config.map_size}


@pytest.mark.parametrize("name", NAMES)
def test_a_step_at_paper_size_moves_the_parameters(name, head, make_captures):
    module, config = recipe(name, "paper")
    stage = module.Stage(config, head)
    network = stage.build({})
    batch = {"lightstage": make_captures(1, config.map_size)}
    before = {n: p.detach().clone() for n, p in network.named_parameters() if "stem" in n}
    total(stage.losses(network, batch, generator())).backward()
    torch.optim.SGD(network.parameters(), lr=1e-2).step()
    moved = [n for n, p in network.named_parameters() if n in before and not torch.equal(p, before[n])]
    assert len(moved) == len(before) > 0
