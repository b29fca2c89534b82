"""How a stage is trained, whatever it learns."""

import math
from dataclasses import dataclass
from typing import Literal

from mosar.errors import ConfigError

WITHOUT_EFFECT = (
    "workers",
    "min_workers",
    "cpus",
    "resize_s",
    "checkpoint_every",
    "readers",
    "keep",
    "retries",
    "log_every",
    "on_corrupt",
    "stall_s",
    "trace",
)
"""Keys that do not change the weights that come out: a run may go on with others."""


@dataclass(frozen=True)
class TrainConfig:
    """Attributes:

    steps: optimiser steps in all.
    batch: samples a step, over all workers and streams.
    lr, warmup, decay, final_lr: learning rate; steps of its linear rise; its shape after; its end, relative.
    weight_decay: of AdamW.
    clip: largest norm of the gradient; 0 for none.
    ema: decay of the moving average of the weights that is evaluated and exported; 0 for none.
    precision: of the forward pass.
    seed: of weights, order, augmentation and everything random.
    workers, min_workers: the most and the fewest at once; a run may go on with others, see ``slices``.
    cpus: logical CPUs that a worker holds.
    resize_s: with ``min_workers`` below ``workers``: seconds between looks for nodes that came or went.
    slices: that a batch is cut into; each worker takes some of them, so that the weights depend on the slices and, but
        for the order in which more than two are added up, not on the workers. By default as many as workers: then a
        run cannot go on with another number of them.
    device: "auto" trains on GPUs where the cluster has any; a run goes on where it began, or not at all.
    threads: of torch, a worker.
    readers: reading tasks at once, a worker.
    checkpoint_every, keep: steps between checkpoints; how many are kept, besides the best one. Whenever an evaluation
        is the best so far, there is a checkpoint, too.
    evaluate_every, evaluate_batches: steps between evaluations (always at the start and the end); held-out batches.
    calibrate_batches: training batches that the stage's statistics are taken from; 0 for none.
    log_every: steps between lines of the metrics.
    retries: how often a run is taken up again after a worker fails or its node goes without notice.
    on_corrupt: what a training sample that cannot be read does: "stop" the run with the names of shard and sample, or
        "skip": another one stands in, and it is counted. Held-out samples always stop the run.
    stall_s: a worker that finishes no step for so long, or does not get to its first, is ended, and the run taken up
        again.
    trace: whether the metrics name all samples of all steps; "sample_order_hash", a hash over them, is always there.
    """

    steps: int
    batch: int
    lr: float = 1e-3
    warmup: int = 0
    decay: Literal["cosine", "constant"] = "cosine"
    final_lr: float = 0.05
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0
    workers: int = 1
    min_workers: int | None = None
    cpus: float = 1.0
    resize_s: float = 60.0
    slices: int | None = None
    device: Literal["auto", "cpu", "gpu"] = "auto"
    threads: int = 1
    readers: int = 1
    checkpoint_every: int = 100
    keep: int = 2
    evaluate_every: int = 100
    evaluate_batches: int = 4
    calibrate_batches: int = 8
    log_every: int = 10
    retries: int = 3
    on_corrupt: Literal["stop", "skip"] = "stop"
    stall_s: float = 1800.0
    trace: bool = False

    def __post_init__(self) -> None:
        positive = ("steps", "batch", "lr", "workers", "threads", "readers", "checkpoint_every", "keep")
        for name in (*positive, "evaluate_every", "evaluate_batches", "log_every", "stall_s", "resize_s", "cpus"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"train.{name}: got {getattr(self, name)}, expected more than 0")
        for name in ("warmup", "weight_decay", "clip", "seed", "calibrate_batches", "retries", "final_lr"):
            if getattr(self, name) < 0:
                raise ConfigError(f"train.{name}: got {getattr(self, name)}, expected 0 or more")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"train.ema: got {self.ema}, expected a decay in [0, 1)")
        if self.min_workers is not None and not 1 <= self.min_workers <= self.workers:
            raise ConfigError(f"train.min_workers: got {self.min_workers}, expected 1 to workers ({self.workers})")
        if self.trace and self.log_every != 1:
            raise ConfigError("train.trace: names the samples of every step, so it needs train.log_every=1")
        if self.slices is not None and self.slices < self.workers:
            raise ConfigError(f"train.slices: got {self.slices}, expected at least workers ({self.workers})")

    @property
    def cut(self) -> int:
        """The number of slices."""
        return self.slices or self.workers

    @property
    def elastic(self) -> bool:
        return self.min_workers is not None and self.min_workers < self.workers

    def lr_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.decay == "constant":
            return self.lr
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * (self.final_lr + (1 - self.final_lr) * 0.5 * (1 + math.cos(math.pi * done)))
