"""Checkpoints of a run: safetensors for tensors, JSON for the rest; written atomically and verified on loading.

``<run>/checkpoints/<step>/tensors.safetensors`` is written first; ``state.json``, which holds its sha256, makes the
checkpoint valid. Only the checkpoint holds the run's position (the step).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mosar.errors import DataError, RunError
from mosar.platform import storage
from mosar.platform.storage import digest

if TYPE_CHECKING:
    from torch import Tensor

_TENSORS, _STATE = "tensors.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to resume: steps done, tensors by name, JSON-ready state."""

    step: int
    tensors: Mapping[str, "Tensor"]
    state: Mapping[str, Any]


def save(run: str, checkpoint: Checkpoint, keep: int, protect: Collection[int] = ()) -> str:
    """Write a checkpoint, then remove all but the newest ``keep`` and the steps ``protect``. Returns its location.

    A checkpoint without a state, which a kill left behind, does not count towards ``keep`` and is removed. Checkpoints
    of later steps are removed too: the run went back to an earlier one because they were unusable.
    """
    location = _location(run, checkpoint.step)
    storage.remove(storage.join(location, _STATE))
    content = to_bytes(checkpoint.tensors)
    storage.write_bytes(storage.join(location, _TENSORS), content)
    state = {"step": checkpoint.step, "sha256": digest.of_bytes(content), "state": dict(checkpoint.state)}
    storage.write_json(storage.join(location, _STATE), state)
    found = steps(run)
    before = [step for step in found if step <= checkpoint.step]
    whole = [step for step in before if storage.exists(storage.join(_location(run, step), _STATE))]
    for step in found:
        if step not in {*whole[-keep:], *protect}:
            storage.remove(storage.join(_location(run, step), _STATE))
            storage.remove(_location(run, step))
    return location


def steps(run: str) -> list[int]:
    """Steps of all checkpoints, valid or not, ascending."""
    return sorted(int(name) for name in storage.names(storage.join(run, "checkpoints")) if name.isdigit())


def load(run: str, step: int) -> Checkpoint:
    """Raises DataError if the checkpoint is incomplete or altered."""
    location = _location(run, step)
    state = storage.read_json(storage.join(location, _STATE))
    content = storage.read_bytes(storage.join(location, _TENSORS))
    if not isinstance(state, dict) or state.get("sha256") != digest.of_bytes(content) or state.get("step") != step:
        raise DataError(f"{location}: the checkpoint was altered (its sha256 is not the recorded one)")
    return Checkpoint(step, from_bytes(content, location), state["state"])


def newest(run: str) -> tuple[Checkpoint | None, list[str]]:
    """The newest valid checkpoint, or None for a run without any; and a message for each newer, invalid checkpoint.

    Raises:
        RunError: there are completely written checkpoints, but none is valid.
    """
    problems: list[str] = []
    found = steps(run)
    for step in reversed(found):
        try:
            return load(run, step), problems
        except DataError as error:
            problems.append(f"checkpoint of step {step} cannot be used, going back to the one before: {error}")
    if found and any(storage.exists(storage.join(_location(run, step), _STATE)) for step in found):
        raise RunError(
            f"{run}: none of its checkpoints can be used ({'; '.join(problems)}); remove the run to start again"
        )
    return None, problems


def to_bytes(tensors: Mapping[str, "Tensor"]) -> bytes:
    """Serialise tensors as safetensors; equal tensors give equal bytes."""
    import safetensors.torch

    return safetensors.torch.save({name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)})


def from_bytes(content: bytes, where: str) -> dict[str, "Tensor"]:
    """Raises DataError if ``content`` is not safetensors."""
    import safetensors
    import safetensors.torch

    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise DataError(f"{where}: not safetensors ({error})") from error


def _location(run: str, step: int) -> str:
    return storage.join(run, "checkpoints", f"{step:09d}")
