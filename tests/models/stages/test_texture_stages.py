"""Properties that all stages in texture space share."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stage_recipes import generator, recipe

from mosar.models.losses import total
from mosar.models.texture_space import Lighting, even_gloss, light_normalized, read_maps
from mosar.models.texture_space.lighting import SPECULAR

STAGES = Path(__file__).parents[3] / "models" / "stages"
NAMES = sorted(path.parent.name for path in STAGES.glob("*/stage.py") if "texture_space import" in path.read_text())
SIZE = 32


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


def even_light(texture):
    return Lighting(torch.ones_like(texture), torch.zeros_like(texture))


def call(stage, network, texture):
    """The stage's maps for even textures of which the upper half is known."""
    known = torch.zeros_like(texture[:, :1])
    known[..., : texture.shape[-2] // 2, :] = 1
    arguments = {
        "completion": (known, even_light(texture)),
        "delight": (even_light(texture), known),
        "intrinsics": (torch.full_like(known, 0.8),),
        "normals": (),
    }
    return network(texture, *arguments[stage.name])


def test_losses_are_finite_and_reach_every_parameter(trained, make_captures):
    stage, network, batch = trained
    # Corrections start at zero, and nothing reaches the layers before them until they have left it.
    _train(stage, network, make_captures, steps=2)
    network.zero_grad()
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
    _train(stage, network, make_captures, steps=25)
    textures = light_normalized(read_maps(make_captures(4, SIZE, 11), head))
    with torch.no_grad():
        found = call(stage, network, textures)
    inputs = (textures[0] - textures[1:]).abs().mean()
    learnt = [found] if isinstance(found, torch.Tensor) else [m for n, m in vars(found).items() if n != "ao_b1hw"]
    for maps in learnt:
        assert maps.shape[-2:] == (SIZE, SIZE)
        assert bool(maps.isfinite().all())
        assert float((maps[0] - maps[1:]).abs().mean()) > 0.01 * float(inputs)


def test_untrained_corrections_are_what_dividing_by_the_light_gives(head, make_captures):
    texture = light_normalized(read_maps(make_captures(2, SIZE, 5), head))
    shade = 0.5 + torch.rand(2, 3, SIZE, SIZE, generator=generator())
    light = Lighting(shade, 0.05 * torch.rand(2, 3, SIZE, SIZE, generator=generator()))
    known, ao = torch.ones(2, 1, SIZE, SIZE), torch.ones(2, 1, SIZE, SIZE)
    networks = {}
    for name in ("completion", "delight", "intrinsics"):
        module, config = recipe(name, "tiny")
        networks[name] = module.Stage(replace(config, map_size=SIZE), head).build({})
    with torch.no_grad():
        whole = networks["completion"](light.lit(texture), known, light)
        even = networks["delight"](whole, light, known)
        albedo = networks["intrinsics"](even, ao).diffuse_b3hw
    inside = (texture > 0.05) & (texture < 0.95)
    torch.testing.assert_close(whole[inside], light.lit(texture)[inside], atol=1e-4, rtol=0)
    torch.testing.assert_close(even[inside], texture[inside], atol=1e-4, rtol=0)
    gloss = float(even_gloss(SPECULAR))
    torch.testing.assert_close(albedo[inside], (texture[inside] - gloss).clamp_min(0), atol=1e-4, rtol=0)


def test_corrections_keep_the_detail_of_what_is_seen(head, make_captures):
    """After training, delight still scales a fine pattern rather than repainting it."""
    module, config = recipe("delight", "tiny")
    stage = module.Stage(replace(config, map_size=SIZE, cells=4), head)
    network = stage.build({})
    stage.fit_statistics(network, [{"lightstage": make_captures(4, SIZE, 1)}])
    _train(stage, network, make_captures, steps=15)
    texture = torch.full((1, 3, 4 * SIZE, 4 * SIZE), 0.3)
    dots = torch.zeros_like(texture)
    dots[..., ::8, ::8] = 0.02
    with torch.no_grad():
        plain, dotted = (network(t, even_light(t), torch.ones_like(t[:, :1])) for t in (texture, texture + dots))
    gained = (dotted - plain)[dots > 0] / 0.02
    assert 0.3 < float(gained.mean()) < 3
    assert float(gained.std()) < 0.5 * float(gained.mean())


def test_inference_takes_maps_of_any_size(trained):
    stage, network, _ = trained
    texture = torch.rand(1, 3, 40, 52, generator=generator())
    with torch.no_grad():
        found = call(stage, network, texture)
    maps = [found] if isinstance(found, torch.Tensor) else list(vars(found).values())
    assert all(m.shape[-2:] == (40, 52) for m in maps)


def test_a_few_steps_lower_the_loss_of_other_people(trained, make_captures):
    stage, network, held_out = trained

    def error():
        return sum(float(stage.metrics(network, held_out, generator(seed))["loss"]) for seed in range(3))

    start = error()
    _train(stage, network, make_captures, steps=60 if stage.name == "delight" else 30)
    assert error() < start


def _train(stage, network, make_captures, steps):
    """Steps on three batches in turn, each step with noise of its own."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
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
def test_stages_train_on_what_inference_sees(name, head, make_captures, estimated, untrained_parents):
    """With estimates in the data and the networks before it, a stage sees unwrapped pictures, and its loss falls."""
    module, config = recipe(name, "tiny")
    shares = {"estimated_share": 1.0} | ({"upstream_share": 1.0} if hasattr(config, "upstream_share") else {})
    config = replace(config, map_size=SIZE, **shares, **({"patch": 8} if name == "normals" else {}))
    stage = module.Stage(config, head)
    parents = untrained_parents(stage, SIZE)
    torch.manual_seed(0)
    network = stage.build(parents)
    batch = {"lightstage": estimated(make_captures(3, SIZE, 3))}
    stage.fit_statistics(network, [batch])
    assert not {n for n in network.state_dict() if n.startswith(("completion", "delight"))}
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses = []
    for step in range(25):
        optimiser.zero_grad()
        loss = total(stage.losses(network, batch, generator(step % 2)))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-2:]) < sum(losses[:2])
    assert all(p.grad is None for parent in parents.values() for p in parent.parameters())


@pytest.mark.parametrize("name", ["delight", "intrinsics"])
def test_stages_learn_to_leave_photographs_as_they_are(name, head, make_captures, estimated, untrained_parents):
    """A network whose corrections are bad changes photographs less once they are part of its batches."""
    module, config = recipe(name, "tiny")
    shares = {"upstream_share": 1.0} if name == "intrinsics" else {}
    config = replace(config, map_size=SIZE, photograph_share=0.5, photograph_weight=5.0, **shares)
    stage = module.Stage(config, head)
    assert set(stage.streams) == {"lightstage", "wild"}
    assert not set(stage.streams["wild"].fields) & {"diffuse", "mesh", "light"}
    parents = untrained_parents(stage, SIZE)
    torch.manual_seed(0)
    network = stage.build(parents)
    photographs = estimated(make_captures(3, SIZE, 4))
    batch = {
        "lightstage": make_captures(3, SIZE, 3),
        "wild": {field: photographs[field] for field in stage.streams["wild"].fields},
    }
    stage.fit_statistics(network, [batch])
    grid = network.correction if name == "delight" else network.diffuse
    with torch.no_grad():  # darkens the left and lightens the right
        grid.network.tone[-1].bias.normal_(0.0, 1.0, generator=generator(1))
        grid.network.last.weight.normal_(0.0, 0.3, generator=generator(2))
    before = float(stage.metrics(network, batch, generator())["photographs"])
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for step in range(25):
        optimiser.zero_grad()
        losses = stage.losses(network, batch, generator(step % 2))
        total(losses).backward()
        optimiser.step()
    assert float(stage.metrics(network, batch, generator())["photographs"]) < 0.7 * before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("preset", ["tiny", "cpu", "paper"])
def test_recipes_parse(name, preset, head):
    module, config = recipe(name, preset)
    streams = module.Stage(config, head).streams
    assert sum(spec.proportion for spec in streams.values()) == 1
    assert ("unwrapped" in streams["lightstage"].fields) == (config.estimated_share > 0)
    assert {spec.map_size for spec in streams.values()} == {config.map_size}


@pytest.mark.parametrize("name", NAMES)
def test_a_step_moves_the_parameters_of_the_networks_of_the_paper(name, head, make_captures):
    """The networks at full width, on smaller maps."""
    module, config = recipe(name, "paper")
    shares = {name: 0.0 for name in ("estimated_share", "upstream_share") if hasattr(config, name)}
    config = replace(config, map_size=96, **shares)
    stage = module.Stage(config, head)
    network = stage.build({})
    batch = {"lightstage": make_captures(1, config.map_size)}
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    total(stage.losses(network, batch, generator())).backward()
    torch.optim.SGD(network.parameters(), lr=1e-2).step()
    moved = [n for n, p in network.named_parameters() if not torch.equal(p, before[n])]
    assert moved
