"""What each worker of a Ray Train run does.

No random state outlives a step: weights, order, augmentation and noise follow from the seed and the step number. The
batch is cut into slices, which the workers share, and noise depends on the slice and not on the worker. So a run that
was killed, or resumed with fewer workers, computes what an undisturbed run computes.
"""

import contextlib
import errno
import faulthandler
import functools
import os
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mosar.errors import MosarError, RunError
from mosar.platform import storage
from mosar.platform.data import stream
from mosar.platform.monitoring import metrics, plots
from mosar.platform.runs import checkpoint, run
from mosar.platform.storage import digest
from mosar.platform.training import device_info, failure, graceful_stop, resources
from mosar.platform.training.graceful_stop import Wish
from mosar.platform.training.learner import Learner
from mosar.platform.training.stage import Batch
from mosar.platform.training.train_config import TrainConfig

if TYPE_CHECKING:
    from mosar.platform.training.run_spec import RunSpec

_MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    TypeError,
    ValueError,
)
"""Errors that a retry does not mend, unlike a connection that broke because another worker died."""
_LEAVING = "a node of this run is being taken away; checkpoints are saved until it is gone"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def work(config: dict[str, Any]) -> None:
    """The train function of Ray Train; ``config["spec"]`` is the :class:`~mosar.platform.training.run_spec.RunSpec`."""
    spec: RunSpec = config["spec"]
    if failure.failed(spec) is not None:
        return
    try:
        _Training(spec).run()
    except Exception as error:
        cause = _our_error(error)
        if cause is None and isinstance(error, OSError) and error.errno in _FULL:
            cause = RunError(f"{spec.location}: cannot be written to ({error.strerror}); make room and start it again")
        if cause is None and isinstance(error, _MISTAKES):
            cause = RunError(
                f"{type(error).__name__}: {error} ({failure.keep_traceback(spec, traceback.format_exc())})"
            )
        if cause is not None:
            with contextlib.suppress(OSError):
                failure.note_failure(spec, cause)
        raise


class _Training:
    """One worker's part of a run."""

    def __init__(self, spec: "RunSpec") -> None:
        import ray.train
        import ray.train.torch

        self.spec, self.config = spec, spec.config
        context = ray.train.get_context()
        self.rank, self.world = context.get_world_rank(), context.get_world_size()
        self.device = ray.train.torch.get_device()
        make_deterministic(self.config, self.device)
        self.stage, module = spec.build()
        self.learner = Learner(self.config, self.stage, module, self.device, self.rank, self.world)
        self.held_out: list[Batch] = []
        self.rows: list[Tensor] = []
        self.sample_order_hash, self.skipped = "", 0
        self.notes: dict[str, Any] = {}
        """History that checkpoints carry: held-out loss at the start, best step, last evaluation, order hash, skips."""

    def run(self) -> None:
        self._alive()
        step = self._restore()
        if self.rank == 0:
            warnings = [
                resources.starving(self.config, self.world),
                device_info.note(self.spec.location, step, self.device),
            ]
            for warning in filter(None, warnings):
                run.log(self.spec.location, {"step": step, "warning": warning})
        if step == 0:
            self._alive()
            self._begin()
            self._alive()
            if self.rank == 0:
                self._evaluate(0)
        with contextlib.closing(self._listener()) as listener:
            self._alive()
            reached = self._train(step, listener)
            self._alive()
            if self.rank == 0 and reached == self.config.steps:
                self._finish()
        faulthandler.cancel_dump_traceback_later()

    def _alive(self) -> None:
        """Restart the watchdog, which ends this process after ``stall_s``; Ray Train then restarts the workers."""
        faulthandler.dump_traceback_later(self.config.stall_s, exit=True)

    def _listener(self) -> graceful_stop.Listener:
        return graceful_stop.Listener(self.spec.location, self.spec.submission, self.rank, self.world)

    def _train(self, done: int, listener: graceful_stop.Listener) -> int:
        """Train from step ``done`` to the end or until asked to stop. Returns the number of steps done."""
        config = self.config
        reached = done
        waited, since, since_step = 0.0, time.monotonic(), done
        before = time.monotonic()
        sources, slices = self.spec.training, config.cut
        for step, batches in stream.batches(
            sources, range(done, config.steps), self.learner.mine, slices, readers=config.readers
        ):
            waited += time.monotonic() - before
            self._alive()
            self.rows.append(self._rows(batches))
            if step == done:
                (total, parts, norm), rounding = device_info.rounding(
                    functools.partial(self.learner.step, step, batches)
                )
                if rounding and self.rank == 0:
                    run.log(self.spec.location, {"step": step, "warning": rounding})
            else:
                total, parts, norm = self.learner.step(step, batches)
            reached = step + 1
            if reached % config.log_every == 0 or reached == config.steps:
                total, parts = self.learner.mean(total, parts)
                rows = self._account(reached)
                self._check(reached, total, norm)
                waited = self._most(waited)
                if self.rank == 0:
                    took = max(time.monotonic() - since, 1e-9)
                    line = {
                        "step": reached,
                        "time": time.time(),
                        "loss": total.item(),
                        "losses": {name: value.item() for name, value in parts.items()},
                        "lr": config.lr_at(step),
                        "gradient_norm": float(norm),
                        "steps_per_s": (reached - since_step) / took,
                        "wait_share": waited / took,
                        "workers": self.world,
                        "device": self.device.type,
                        "sample_order_hash": self.sample_order_hash,
                        "skipped": self.skipped,
                    }
                    if config.trace:
                        line["rows"] = rows.tolist()
                    run.log(self.spec.location, line)
                    self._publish(line)
                waited, since, since_step = 0.0, time.monotonic(), reached
            evaluating = reached % config.evaluate_every == 0 or reached == config.steps
            if evaluating:
                self._check(reached, total, norm)
            if evaluating and self.rank == 0:
                self._evaluate(reached)
            wish = listener.wish()
            saving = wish is not Wish.CONTINUE or reached % config.checkpoint_every == 0 or reached == config.steps
            if self.rows and (saving or evaluating):
                self._account(reached)
            if saving:
                self._check(reached, total, norm)
                self._checkpoint(reached)
            elif evaluating and self.rank == 0 and self.notes["best"][0] == reached:
                self._save(reached)
            if wish is Wish.SAVE and self.rank == 0:
                run.log(self.spec.location, {"step": reached, "warning": _LEAVING})
            if wish is Wish.STOP:
                break
            before = time.monotonic()
        return reached

    def _check(self, step: int, total: Tensor, norm: Tensor) -> None:
        """Refuse to save a checkpoint with non-finite weights: the run would resume from it again and again.

        The gradient norm is the same on all workers and is taken before the weights change. The loss alone would show
        non-finite weights one step too late.
        """
        if not torch.isfinite(total) or not torch.isfinite(norm):
            found = f"the loss is {total.item():g} and the gradient norm {norm.item():g}"
            raise RunError(f"{self.spec.location}: {found} at step {step}")

    def _most(self, seconds: float) -> float:
        """The longest data wait of all workers: the others wait for that worker in the gradient exchange."""
        if self.world == 1:
            return seconds
        most = torch.tensor(seconds, device=self.device)
        torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
        return float(most)

    def _rows(self, batches: Sequence[Batch]) -> Tensor:
        """Rows of the step's samples, (slices, samples per slice); the slices of other workers are zero."""
        mine = torch.stack([torch.cat([fields[stream.ROWS] for _, fields in sorted(b.items())]) for b in batches])
        rows = torch.zeros(self.config.cut, mine.shape[1], dtype=torch.int64)
        rows[self.learner.mine.start : self.learner.mine.stop] = mine
        return rows

    def _account(self, step: int) -> Tensor:
        """Add the steps since the last call to the order hash and the skip count. Returns (steps, samples) rows."""
        rows = torch.stack(self.rows)
        self.rows = []
        if self.world > 1:
            rows = rows.to(self.device)
            torch.distributed.all_reduce(rows)
            rows = rows.cpu()
        for number, row in enumerate(rows, start=step - len(rows)):
            self.sample_order_hash = digest.of_json([self.sample_order_hash, number, row.tolist()])
        self.skipped += int((rows < 0).sum())
        return rows.flatten(1)

    def _publish(self, line: dict[str, Any]) -> None:
        """Export the line's numbers as Ray metrics."""
        name = self.spec.location.rsplit("/", 1)[-1]
        metrics.STEP.set(line["step"], run=name)
        metrics.LOSS.set(line["loss"], run=name)
        metrics.SAMPLES_PER_SECOND.set(line["steps_per_s"] * self.config.batch, run=name)
        metrics.SKIPPED.set(line["skipped"], run=name)
        metrics.WAIT_SHARE.set(line["wait_share"], run=name)

    def _begin(self) -> None:
        """Rank 0 loads trained weights, or fits the stage's statistics; the other workers receive its module.

        Trained weights belong to the statistics that they were trained with, so these are not fitted again.
        """
        module = self.learner.module
        if self.rank == 0 and self.spec.start is not None:
            self.spec.start(module)
        elif self.rank == 0 and self.config.calibrate_batches:
            read = stream.batches(self.spec.training, range(self.config.calibrate_batches), [0], 1)
            self.learner.seed("calibrate")
            module.eval()
            self.stage.fit_statistics(module, (self.learner.on_device(batch) for _, [batch] in read))
            module.train()
        self.learner.share()

    def _evaluate(self, step: int) -> None:
        """Log held-out metrics and write a preview picture. Runs on rank 0."""
        module = self.learner.evaluated()
        generator = self.learner.generator
        found = self._over_held_out(lambda batch: self.stage.metrics(module, batch, generator))
        run.log(self.spec.location, {"step": step, "time": time.time(), "heldout": found})
        if step == 0:
            self.notes["start"] = found["loss"]
        if "best" not in self.notes or found["loss"] < self.notes["best"][1]:
            self.notes["best"] = [step, found["loss"]]
        self.notes["last"] = found
        self.learner.seed("preview")
        picture = self.stage.preview(module, self._held_out()[0], generator)
        storage.write_bytes(storage.join(self.spec.location, "previews", f"{step:09d}.png"), plots.png(picture))
        self.learner.module.train()

    def _finish(self) -> None:
        module, generator = self.learner.evaluated(), self.learner.generator
        baseline = self._over_held_out(lambda batch: {"loss": self.stage.baseline(module, batch, generator)})["loss"]
        held_out = {"start": self.notes["start"], "end": self.notes["last"]["loss"], "baseline": baseline}
        result = {"heldout": held_out, "metrics": self.notes["last"], "steps": self.config.steps}
        best = dict(zip(("step", "loss"), self.notes["best"], strict=True))
        result |= {"sample_order_hash": self.sample_order_hash, "skipped": self.skipped, "best": best}
        run.finish(self.spec.location, dict(module.state_dict()), result)

    def _over_held_out(self, function: Any) -> dict[str, float]:
        """Means over the held-out batches of the named scalars that ``function`` returns."""
        sums: dict[str, float] = {}
        batches = self._held_out()
        for number, batch in enumerate(batches):
            self.learner.seed("evaluate", number)
            with torch.no_grad(), self.learner.autocast():
                for name, value in function(batch).items():
                    sums[name] = sums.get(name, 0.0) + float(value) / len(batches)
        return sums

    def _held_out(self) -> list[Batch]:
        if not self.held_out:
            read = stream.batches(self.spec.validation, range(self.config.evaluate_batches), [0], 1)
            self.held_out = [self.learner.on_device(batch) for _, [batch] in read]
        return self.held_out

    def _checkpoint(self, step: int) -> None:
        """Rank 0 writes; the report to Ray Train is a barrier, so no worker runs ahead of a checkpoint."""
        import ray.train

        if self.rank == 0:
            self._save(step)
        ray.train.report({"step": step})

    def _save(self, step: int) -> None:
        self.notes |= {"sample_order_hash": self.sample_order_hash, "skipped": self.skipped}
        best = self.notes.get("best", [step])[0]
        saved = checkpoint.Checkpoint(step, self.learner.tensors(), {"notes": self.notes})
        before = time.monotonic()
        checkpoint.save(self.spec.location, saved, self.config.keep, protect=(best,))
        metrics.CHECKPOINT_SECONDS.observe(time.monotonic() - before)

    def _restore(self) -> int:
        """Load the newest valid checkpoint, the same on all workers. Returns its step, 0 for a fresh start."""
        found = None
        if self.rank == 0:
            found, problems = checkpoint.newest(self.spec.location)
            # Rewind before adding lines: a power cut may have left the last line incomplete.
            run.rewind_metrics(self.spec.location, found.step if found else -1)
            for problem in problems:
                run.log(self.spec.location, {"step": found.step if found else 0, "warning": problem})
        step = torch.tensor(found.step if found else 0, device=self.device)
        if self.world > 1:
            torch.distributed.broadcast(step, src=0)
        if int(step) == 0:
            return 0
        found = found or checkpoint.load(self.spec.location, int(step))
        self.learner.load(found.tensors)
        self.notes = dict(found.state["notes"])
        self.sample_order_hash, self.skipped = self.notes.get("sample_order_hash", ""), self.notes.get("skipped", 0)
        return found.step


def make_deterministic(config: TrainConfig, device: torch.device) -> None:
    """Set seed, thread counts and deterministic algorithms; torch warns where CUDA has none."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("NUMBA_NUM_THREADS", str(config.threads))
    torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(digest.seed("weights", config.seed))


def _our_error(error: BaseException | None) -> MosarError | None:
    """The MosarError among the causes of ``error``, if any; looks through Ray's wrapper exceptions."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MosarError) and type(error).__module__ == MosarError.__module__:
            return error
        error = getattr(error, "cause", None) or error.__cause__ or error.__context__
    return None
