"""The optimisation on a worker: a module, the moving average of its weights, an optimiser, and one step of training.

It uses neither storage nor Ray. All randomness in a step follows from the seed, the step number and the slice number.
"""

import contextlib
import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mosar.platform.data.stream import ROWS
from mosar.platform.storage import digest
from mosar.platform.training.stage import Batch, Stage
from mosar.platform.training.train_config import TrainConfig

CRITIC = "critic."
"""Start of the names of a critic's parameters in a module."""
_STATE = ("step", "exp_avg", "exp_avg_sq")
"""Names of AdamW's state tensors of a parameter."""


class Objective(nn.Module):
    """A stage's losses as the forward pass of a module, so that DistributedDataParallel sees all of it."""

    def __init__(self, stage: Stage, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.stage = stage

    def forward(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns (sum of the losses, detached losses by name)."""
        losses = self.stage.losses(self.module, batch, generator)
        return torch.stack(list(losses.values())).sum(), {name: loss.detach() for name, loss in losses.items()}


class Learner:
    """One of ``world`` equal learners that train one model; ``mine`` are its slices of each batch."""

    def __init__(
        self, config: TrainConfig, stage: Stage, module: nn.Module, device: torch.device, rank: int = 0, world: int = 1
    ) -> None:
        self.config, self.stage, self.device, self.world = config, stage, device, world
        self.module = module.to(device).train()
        self.average = _averaged(self.module).eval() if config.ema else None
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=0.0, weight_decay=config.weight_decay)
        self.mine = range(rank * config.cut // world, (rank + 1) * config.cut // world)
        self.generator = torch.Generator(device)
        self._model: nn.Module | None = None

    def step(self, number: int, batches: Sequence[Batch]) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Do optimiser step ``number``, from 0. Returns mean loss of own slices, its parts, and gradient norm."""
        config, model = self.config, self._shared()
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr_at(number)
        self.optimizer.zero_grad(set_to_none=True)
        totals: list[Tensor] = []
        parts: list[dict[str, Tensor]] = []
        for slice_, batch in zip(self.mine, batches, strict=True):
            self.seed("step", number, slice_)
            last = slice_ == self.mine[-1]
            held = model.no_sync() if self.world > 1 and not last else contextlib.nullcontext()  # type: ignore[operator]
            with held:
                with self.autocast():
                    total, named = model(self.on_device(batch), self.generator)
                (total * (self.world / config.cut)).backward()
            totals.append(total.detach())
            parts.append(named)
        # A critic's gradient must not shorten that of the network that it judges.
        norms = [torch.nn.utils.clip_grad_norm_(group, config.clip or float("inf")) for group in _clipped(self.module)]
        norm = torch.stack(norms).norm()
        self.optimizer.step()
        if self.average is not None:
            with torch.no_grad():
                for mean, value in zip(self.average.parameters(), self.module.parameters(), strict=True):
                    mean.lerp_(value, 1 - config.ema)
        return torch.stack(totals).mean(), {k: torch.stack([p[k] for p in parts]).mean() for k in parts[0]}, norm

    def mean(self, total: Tensor, parts: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Average the losses of :meth:`step` over all slices; some learners may have more slices than others."""
        if self.world == 1:
            return total, parts
        values = torch.stack([total, *parts.values()]) * (len(self.mine) / self.config.cut)
        torch.distributed.all_reduce(values)
        return values[0], dict(zip(parts, values[1:], strict=True))

    def share(self) -> None:
        """Copy the first learner's module to all learners, and start the average from it."""
        if self.world > 1:
            with torch.no_grad():
                for value in self.module.state_dict().values():
                    torch.distributed.broadcast(value, src=0)
        if self.average is not None:
            self.average.load_state_dict(self.module.state_dict())

    def evaluated(self) -> nn.Module:
        """The module that is evaluated and exported: the average if there is one."""
        return self.module.eval() if self.average is None else self.average

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that a checkpoint must hold, by name."""
        found = {f"model/{name}": value for name, value in self.module.state_dict().items()}
        if self.average is not None:
            found |= {f"average/{name}": value for name, value in self.average.named_parameters()}
        for name, parameter in self.module.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"optimizer/{key}/{name}"] = value
        return found

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`tensors` returned."""
        self.module.load_state_dict(_group(tensors, "model"))
        if self.average is not None:
            learnt = dict(self.module.named_parameters())
            buffers = {name: value for name, value in self.module.state_dict().items() if name not in learnt}
            self.average.load_state_dict(_group(tensors, "average") | buffers)
        for name, parameter in self.module.named_parameters():
            for key in _STATE:
                value = tensors.get(f"optimizer/{key}/{name}")
                if value is not None:
                    like = torch.zeros_like(parameter) if key != "step" else torch.zeros_like(value)
                    self.optimizer.state[parameter][key] = like.copy_(value)

    def seed(self, *parts: int | str) -> None:
        """Seed the stage's generator and torch's own (dropout) from the run's seed and ``parts``."""
        value = digest.seed(*parts, self.config.seed)
        self.generator.manual_seed(value)
        torch.manual_seed(value)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

    def on_device(self, batch: Batch) -> Batch:
        """Copy a batch to the device. It is always copied: streams give read-only tensors, stages may work in place."""
        return {
            name: {field: value.to(self.device, copy=True) for field, value in fields.items() if field != ROWS}
            for name, fields in batch.items()
        }

    def _shared(self) -> nn.Module:
        if self._model is None:
            self._model = Objective(self.stage, self.module)
            if self.world > 1:
                # Finding unused parameters also stops DDP from rebuilding its buckets, which would change rounding.
                self._model = nn.parallel.DistributedDataParallel(
                    self._model, broadcast_buffers=False, find_unused_parameters=True, gradient_as_bucket_view=True
                )
        return self._model


def _averaged(module: nn.Module) -> nn.Module:
    """A copy with weights of its own. It shares the buffers, which do not train and may be large (bases of patches)."""
    return copy.deepcopy(module, {id(buffer): buffer for buffer in module.buffers()})


def _clipped(module: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters whose gradients are clipped together: the critic's apart from all others."""
    groups: list[list[nn.Parameter]] = [[], []]
    for name, parameter in module.named_parameters():
        groups[name.startswith(CRITIC)].append(parameter)
    return [group for group in groups if group]


def _group(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}/"): value for name, value in tensors.items() if name.startswith(f"{prefix}/")}
