"""Stages and a reconstruction on a GPU that is pretended: nothing mixes devices, and the answers are the CPU's."""

import importlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pretend_cuda import OnCuda, pretended_cuda
from skimage.data import astronaut

import mosar
from mosar.config import parse
from mosar.models.losses import total
from mosar.models.stages import morphable

RECIPES = Path(__file__).parents[2] / "jobs" / "config" / "recipe"
SIZE = 32


def test_what_a_gpu_refuses_is_refused() -> None:
    with pretended_cuda():
        here, there = torch.ones(3), torch.ones(3, device="cuda")
        assert there.is_cuda
        assert (there + 1.0).device.type == "cuda"
        assert there.cpu().device.type == (here + 1.0).device.type == "cpu"
        assert (there * here[0]).is_cuda  # a single number may be elsewhere
        assert torch.equal(there[torch.tensor([0, 2])], torch.ones(2, device="cuda"))
        assert here.to(there).is_cuda
        refused = (
            lambda: here + there,
            lambda: here * there[0],
            lambda: torch.cat([here, there]),
            lambda: torch.stack([here[0], there[0]]),
            lambda: here[there.long()],
        )
        for mixed in refused:
            with pytest.raises(RuntimeError, match="same device"):
                mixed()
        there[1:] = here[:2]  # copies between devices
        network = torch.nn.Linear(2, 2).to("cuda").to(torch.float64)
        assert network.weight.is_cuda
        assert network.weight.dtype == torch.float64
        assert not network.to("cpu").weight.is_cuda
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        with pytest.raises(RuntimeError, match="different devices"):
            torch.rand(3, generator=torch.Generator(), device="cuda")


def test_an_avatar_is_that_of_the_cpu() -> None:
    avatars = []
    for device in ("cpu", "cuda"):
        with pretended_cuda() if device == "cuda" else nullcontext():
            with mosar.load(size=512, device=device, fit_steps=1) as reconstructor:
                avatars.append(reconstructor(astronaut()))
            assert all(avatars[-1].files({"avatar.json", "avatar.npz", "avatar.glb", "maps/normal.png", "render.png"}))
    one, other = avatars
    assert isinstance(other.maps.diffuse, OnCuda)
    torch.testing.assert_close(other.neutral_1v3.cpu(), one.neutral_1v3, atol=0.05, rtol=0)  # mm
    for name in ("diffuse", "specular", "ao", "translucency", "confidence"):
        apart = (getattr(other.maps, name).cpu() - getattr(one.maps, name)).abs()
        assert float(apart.mean()) < 2e-3, name


@pytest.mark.parametrize("name", ["completion", "delight", "intrinsics", "normals"])
def test_a_texture_stage_is_that_of_the_cpu(
    name: str, head: Any, make_captures: Any, estimated: Any, untrained_parents: Any
) -> None:
    values: dict[str, Any] = {"map_size": SIZE, "estimated_share": 0.5}
    values |= {"patch": 8} if name == "normals" else {}
    values |= {"upstream_share": 0.5} if name in ("intrinsics", "normals") else {}
    values |= {"photograph_share": 0.5, "critic": {"width": 8, "levels": 2}} if name == "delight" else {}
    module, config = recipe(name, values)
    stage = module.Stage(config, head)
    captures = estimated(make_captures(3, SIZE))
    batch = {"lightstage": captures}
    if "wild" in stage.streams:
        batch["wild"] = {field: captures[field] for field in stage.streams["wild"].fields}
    same(stage, untrained_parents(stage, SIZE), batch)


def test_the_morphable_model_and_the_encoder_are_those_of_the_cpu(
    head: Any, make_captures: Any, photographs: Any
) -> None:
    captures = make_captures(4, 64)
    captures["neutral"] = captures["mesh"].roll(1, 0)
    _, config = recipe("morphable", {"texture_size": 64})
    parent = same(morphable.Stage(config, head), {}, {"lightstage": captures})
    geometry, config = recipe("geometry", {})
    stage = geometry.Stage(config, head)
    same(stage, {"morphable": parent}, {name: photographs(stage, captures) for name in stage.streams})


def test_the_segmentation_is_that_of_the_cpu(head: Any, crops: Any) -> None:
    module, config = recipe("segmentation", {})
    stage = module.Stage(config, head)
    same(stage, {}, {"lightstage": crops(stage)})


def recipe(name: str, values: dict[str, Any]) -> tuple[Any, Any]:
    module = importlib.import_module(f"mosar.models.stages.{name}")
    return module, parse(
        module.Config, yaml.safe_load((RECIPES / name / "tiny.yaml").read_text())["model"] | values, name
    )


def same(stage: Any, parents: Any, batch: Any) -> torch.nn.Module:
    """Statistics, losses, gradients, figures and preview on both devices. Returns the module of the CPU."""
    found = []
    for device in ("cpu", "cuda"):
        with pretended_cuda() if device == "cuda" else nullcontext():
            torch.manual_seed(0)
            module = stage.build(parents).to(device)
            here = {stream: {k: v.to(device) for k, v in fields.items()} for stream, fields in batch.items()}
            stage.fit_statistics(module, [here])
            value = total(stage.losses(module, here, generator(device)))
            module.zero_grad()  # a parent has gradients of its own training
            value.backward()
            size = sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)
            figures = {k: float(v) for k, v in stage.metrics(module, here, generator(device)).items()}
            figures["baseline"] = float(stage.baseline(module, here, generator(device)))
            picture = stage.preview(module, here, generator(device))
            found.append(({"value": value.item(), "gradient": size} | figures, picture.detach().cpu().numpy()))
            if device == "cpu":
                kept = module
            module.to("cpu")
    (one, picture), (other, shown) = found
    assert one.keys() == other.keys()
    assert other == pytest.approx(one, rel=2e-3, abs=1e-4)
    assert float(np.abs(picture - shown).mean()) < 2e-3
    return kept


def generator(device: str) -> torch.Generator:
    return torch.Generator(device).manual_seed(0)  # a pretended one gives the numbers of the CPU
