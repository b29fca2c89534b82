"""Every stage takes steps in bfloat16: tiny on the CPU, of paper size on a GPU, whose kernels agree with the CPU's."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mosar.config import parse
from mosar.models.camera import Camera
from mosar.models.rasterizer import covered, rasterize
from mosar.models.shading import irradiance, reflection
from mosar.models.stages import morphable
from mosar.platform.training.learner import Learner
from mosar.platform.training.train_config import TrainConfig

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=gpu)]
RECIPES = Path(__file__).parents[2] / "jobs" / "config" / "recipe"


def recipe(name: str, device: str) -> tuple[Any, dict[str, Any]]:
    """A stage's package, and the model of its tiny recipe for the CPU or of its paper recipe for a GPU."""
    text = (RECIPES / name / f"{'tiny' if device == 'cpu' else 'paper'}.yaml").read_text()
    return importlib.import_module(f"mosar.models.stages.{name}"), yaml.safe_load(text)["model"]


@gpu
@pytest.mark.parametrize("function", [irradiance, reflection])
def test_light_is_that_of_the_cpu(function: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    light = torch.randn(2, 81, 3, generator=generator)
    way = torch.nn.functional.normalize(torch.randn(2, 500, 3, generator=generator), dim=2)
    found = []
    for device in ("cpu", "cuda"):
        leaves = [t.detach().to(device).requires_grad_() for t in (light, way)]
        value = function(*leaves)
        value.square().sum().backward()
        found.append([value.detach().cpu(), *(leaf.grad.cpu() for leaf in leaves if leaf.grad is not None)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


@gpu
def test_pictures_of_a_head_are_those_of_the_cpu(head: Any) -> None:
    intrinsics = torch.tensor([[[600.0, 0.0, 64.0], [0.0, 600.0, 64.0], [0.0, 0.0, 1.0]]])
    rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0]))[None]
    translation = torch.tensor([[0.0, 0.0, 900.0]])
    vertices, triangles = torch.tensor(head.template_v3)[None], torch.tensor(head.triangles_f3)
    found = []
    for device in ("cpu", "cuda"):
        camera = Camera(*(t.to(device) for t in (intrinsics, rotation, translation)))
        fragments = rasterize(vertices.to(device), triangles.to(device), camera, (128, 128))
        pixels = covered(fragments, len(triangles))
        found.append((fragments.pix_to_face.cpu(), pixels.barycentric_n3.cpu()))
    (one, weights), (other, theirs) = found
    assert int((one != other).sum()) <= 5  # of 16,384 pixels: at edges, by rounding
    if torch.equal(one, other):
        torch.testing.assert_close(weights, theirs, atol=1e-3, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["completion", "delight", "intrinsics", "normals"])
def test_a_texture_stage_takes_steps(
    name: str, device: str, head: Any, make_captures: Any, estimated: Any, untrained_parents: Any
) -> None:
    module, values = recipe(name, device)
    if device == "cpu":
        values |= {"map_size": 32} | ({"patch": 8} if name == "normals" else {})
    config = parse(module.Config, values, name)
    stage = module.Stage(config, head)
    parents = {name: each.to(device) for name, each in untrained_parents(stage, config.map_size).items()}
    train(stage, parents, {"lightstage": estimated(make_captures(2, config.map_size))}, device)


@pytest.mark.parametrize("device", DEVICES)
def test_the_morphable_model_and_the_encoder_take_steps(
    device: str, head: Any, make_captures: Any, photographs: Any
) -> None:
    captures = make_captures(4, 64)
    captures["neutral"] = captures["mesh"].roll(1, 0)
    config = parse(morphable.Config, {**recipe("morphable", "cpu")[1], "texture_size": 64}, "morphable")
    parent = train(morphable.Stage(config, head), {}, {"lightstage": captures}, device)
    geometry, values = recipe("geometry", device)
    stage = geometry.Stage(parse(geometry.Config, values, "geometry"), head)
    batch = {name: photographs(stage, captures) for name in stage.streams}
    train(stage, {"morphable": parent.cpu()}, batch, device)


@pytest.mark.parametrize("device", DEVICES)
def test_the_segmentation_takes_steps(device: str, head: Any, crops: Any) -> None:
    module, values = recipe("segmentation", device)
    stage = module.Stage(parse(module.Config, values, "segmentation"), head)
    train(stage, {}, {"lightstage": crops(stage)}, device)


def train(stage: Any, parents: Any, batch: Any, device: str) -> torch.nn.Module:
    """Fit the statistics and take two steps in bfloat16; losses and gradients stay finite and some parameters move."""
    torch.manual_seed(0)
    module = stage.build(parents).to(device)
    config = TrainConfig(steps=2, batch=2, lr=1e-3, precision="bf16", ema=0.9)
    learner = Learner(config, stage, module, torch.device(device))
    stage.fit_statistics(module, [learner.on_device(batch)])
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    for number in range(2):
        loss, _, norm = learner.step(number, [batch] * config.cut)
        assert bool(loss.isfinite())
        assert bool(torch.as_tensor(norm).isfinite())
    assert any(not torch.equal(p, before[name]) for name, p in module.named_parameters())
    with torch.no_grad(), learner.autocast():
        assert all(
            bool(v.isfinite()) for v in stage.metrics(module, learner.on_device(batch), learner.generator).values()
        )
    return module
