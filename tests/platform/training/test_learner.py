"""A training step compared with its definition: precision, moving average, schedule, clipping, checkpoints."""

import copy
import math
from pathlib import Path

import pytest
import torch

from mosar.jobs.fault_injection import toy
from mosar.platform.runs import checkpoint
from mosar.platform.runs.checkpoint import Checkpoint
from mosar.platform.training.learner import Learner
from mosar.platform.training.stage import Batch
from mosar.platform.training.train_config import TrainConfig

STEPS = 8


def learner(**changes: object) -> Learner:
    torch.manual_seed(0)
    stage = toy.Stage(pause_s=0.0, pids="")
    module = stage.build({})
    module.filler = torch.zeros(1)
    config = TrainConfig(steps=STEPS, batch=8, lr=0.05, slices=2, **changes)  # type: ignore[arg-type]
    return Learner(config, stage, module, torch.device("cpu"))


def batches(step: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(step)
    x, u = torch.randn(2, 3, toy.WIDTH, generator=generator), torch.randn(2, 1, toy.WIDTH, generator=generator)
    return [{"labelled": {"x": a, "y": a.sum(1)}, "unlabelled": {"x": b}} for a, b in zip(x, u, strict=True)]


def train(made: Learner, *steps: int) -> Learner:
    for step in steps:
        made.step(step, batches(step))
    return made


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_resumed_from_a_checkpoint_ends_with_the_same_bits(tmp_path: Path, precision: str) -> None:
    settings = {"precision": precision, "ema": 0.9, "weight_decay": 0.01}
    whole = train(learner(**settings), *range(STEPS)).tensors()
    first = train(learner(**settings), *range(3))
    checkpoint.save(str(tmp_path), Checkpoint(3, first.tensors(), {}), keep=1)
    second = learner(**settings)
    second.load(checkpoint.load(str(tmp_path), 3).tensors)
    found = train(second, *range(3, STEPS)).tensors()
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_bf16_applies_to_the_forward_pass_only() -> None:
    fine, coarse = learner(), learner(precision="bf16")
    difference = abs(float(fine.step(0, batches(0))[0]) - float(coarse.step(0, batches(0))[0]))
    assert 0 < difference < 0.05
    assert {value.dtype for name, value in coarse.tensors().items()} == {torch.float32}


def test_the_average_is_the_exponential_mean_of_all_weights_so_far() -> None:
    made, seen = learner(ema=0.8), []
    seen.append(copy.deepcopy(dict(made.module.named_parameters())))
    for step in range(STEPS):
        train(made, step)
        seen.append(copy.deepcopy(dict(made.module.named_parameters())))
    for name, mean in made.evaluated().named_parameters():
        wanted = 0.8**STEPS * seen[0][name].double()
        for age, weights in enumerate(reversed(seen[1:])):
            wanted = wanted + 0.2 * 0.8**age * weights[name].double()
        torch.testing.assert_close(mean.double(), wanted, rtol=1e-5, atol=1e-7)


def test_buffers_are_held_once_and_saved_once() -> None:
    made = learner(ema=0.8)
    assert made.average is not None
    buffers = dict(made.module.named_buffers())
    assert buffers
    assert all(mean is buffers[name] for name, mean in made.average.named_buffers())
    assert not {f"average/{name}" for name in buffers} & made.tensors().keys()
    other = learner(ema=0.8)
    for value in buffers.values():
        value.add_(1)
    other.load(made.tensors())
    for name, mean in other.evaluated().named_buffers():
        torch.testing.assert_close(mean, buffers[name])
    del (tensors := made.tensors())[next(name for name in tensors if name.startswith("average/"))]
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load(tensors)


@pytest.mark.parametrize("clip", [0.0, 0.1, 1e6])
def test_the_gradient_is_the_mean_over_slices_and_is_clipped(clip: float) -> None:
    made = learner(clip=clip)
    twin = copy.deepcopy(made.module)
    total = torch.zeros(())
    for slice_, batch in enumerate(batches(0)):
        made.seed("step", 0, slice_)
        total = total + sum(made.stage.losses(twin, made.on_device(batch), made.generator).values()) / 2
    total.backward()
    gradient = torch.cat([p.grad.flatten() for p in twin.parameters() if p.grad is not None])
    length = gradient.norm()
    loss, _, norm = made.step(0, batches(0))
    torch.testing.assert_close(loss, total.detach())
    torch.testing.assert_close(norm, length)
    wanted = gradient if not clip else gradient * min(1.0, clip / float(length))
    torch.testing.assert_close(
        torch.cat([p.grad.flatten() for p in made.module.parameters() if p.grad is not None]), wanted
    )


def test_a_critic_is_clipped_apart() -> None:
    made = learner(clip=0.1)
    made.module.critic = torch.nn.Linear(1, 1, bias=False)
    losses = made.stage.losses

    def with_critic(module: torch.nn.Module, *rest: object) -> dict[str, torch.Tensor]:
        return {**losses(module, *rest), "critic": 1e4 * module.critic.weight.sum()}

    object.__setattr__(made.stage, "losses", with_critic)
    twin = train(learner(clip=0.1), 0).module
    made._model = None
    made.step(0, batches(0))
    for name, parameter in twin.named_parameters():
        torch.testing.assert_close(dict(made.module.named_parameters())[name].grad, parameter.grad)
    assert float(made.module.critic.weight.grad.norm()) == pytest.approx(0.1, rel=1e-3)


def test_the_learning_rate_rises_linearly_and_falls_along_a_cosine() -> None:
    config = TrainConfig(steps=110, batch=1, lr=2.0, warmup=10, final_lr=0.1)
    assert [config.lr_at(step) for step in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert config.lr_at(10) == 2.0
    for done in (0.25, 0.5, 0.99):
        wanted = 2.0 * (0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2)
        assert config.lr_at(10 + round(100 * done)) == pytest.approx(wanted)
    constant = TrainConfig(steps=110, batch=1, lr=2.0, warmup=10, decay="constant")
    assert {constant.lr_at(step) for step in range(9, 110)} == {2.0}
    made = train(learner(warmup=4), 0, 1)
    assert made.optimizer.param_groups[0]["lr"] == made.config.lr_at(1) == pytest.approx(0.025)
