"""Settings of the training loop, the same for all stages."""

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
"""Keys that do not change the final weights: a run may resume with other values."""


@dataclass(frozen=True)
class TrainConfig:
    """Attributes:

    steps: number of optimiser steps.
    batch: samples per step, over all workers and streams.
    lr: learning rate.
    warmup: steps in which the learning rate rises linearly.
    decay: shape of the learning rate after that.
    final_lr: final value of the learning rate, relative to ``lr``.
    weight_decay: weight decay of AdamW.
    clip: largest norm of the gradient, of a critic's apart from the others'; 0 turns clipping off.
    ema: decay of the moving average of the weights, which is evaluated and exported; 0 turns it off.
    precision: number format of the forward pass.
    seed: seed of weights, order, augmentation and everything else that is random.
    workers: largest number of workers; a run may resume with another number, see ``slices``.
    min_workers: smallest number of workers; the default is ``workers``.
    cpus: logical CPUs that each worker holds.
    resize_s: seconds between checks for added or lost nodes, if ``min_workers`` is below ``workers``.
    slices: number of equal parts of a batch, of which each worker takes some. The weights depend on the slices but not
        on the number of workers, except for the order in which more than two slices are added up. The default is
        ``workers``; such a run cannot resume with another number of workers.
    device: "auto" trains on GPUs if the cluster has any. A run resumes only on the device type where it began.
    threads: torch threads per worker.
    readers: concurrent reading tasks per worker.
    checkpoint_every: steps between checkpoints. An evaluation that is the best so far also saves a checkpoint.
    keep: number of checkpoints that are kept besides the best one.
    evaluate_every: steps between evaluations; the start and the end are evaluated too.
    evaluate_batches: held-out batches in each evaluation.
    calibrate_batches: training batches from which the stage takes its statistics; 0 for none. A run that starts from
        trained weights keeps theirs.
    log_every: steps between lines of the metrics.
    retries: how often a run restarts after a worker fails or a node is lost without notice.
    on_corrupt: what happens if a training sample cannot be read or decoded. "stop" ends the run with the names of shard
        and sample; "skip" uses another sample instead and counts it. A damaged held-out sample always stops the run.
    stall_s: a worker that finishes no step within this time, or does not reach its first step, is ended, and the run
        restarts.
    trace: whether the metrics list all samples of all steps; "sample_order_hash", a hash over them, is always there.
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
            raise ConfigError("train.trace: lists the samples of every step, so it needs train.log_every=1")
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
