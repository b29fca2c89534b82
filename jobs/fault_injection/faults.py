"""The faults: each disturbs a training, runs it to its end, and returns a description of what it did.

Workers and drivers are killed from outside, at moments read from the run's own records. See docs/runs.md.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from mosar.errors import RunError
from mosar.jobs import hydra_main
from mosar.jobs.fault_injection import harness, toy
from mosar.jobs.fault_injection.harness import Training
from mosar.platform.runs import run as runs


def worker_killed(training: Training) -> str:
    driver = training.start()
    training.reach(11, driver)
    training.kill(1)
    training.finish(driver)
    return "worker 1 killed (-9) in step 12"


def worker_of_four_killed(training: Training) -> str:
    """With more than two workers the gradients can be summed in several orders; the order must be the same again."""
    driver = training.start()
    training.reach(19, driver)
    training.kill(2)
    training.finish(driver)
    return "worker 2 of 4 killed (-9) in step 20"


def worker_killed_in_checkpoint(training: Training) -> str:
    driver = training.start()
    folders = training.folder / "checkpoints"
    seen: list[int] = []

    def unfinished() -> bool:
        for path in folders.glob("*"):
            if int(path.name) > 8 and not (path / "state.json").exists() and any(path.iterdir()):
                os.kill(training.workers()[0], signal.SIGKILL)
                seen.append(int(path.name))
        return bool(seen)

    harness.wait(unfinished, "a checkpoint in the making", driver, pause_s=0.001)
    if (folders / f"{seen[0]:09d}" / "state.json").exists():
        driver.kill()
        raise RunError("the checkpoint was finished before the worker was killed; try again")
    training.finish(driver)
    return f"worker 0 killed (-9) while it wrote the checkpoint of step {seen[0]}"


def worker_killed_at_the_edge(training: Training) -> str:
    """The edge of an epoch of the first stream: its 160 samples, 12 per step, end in step 14."""
    driver = training.start()
    training.reach(13, driver)
    training.kill(0)
    training.finish(driver)
    return "worker 0 killed (-9) in step 14, where an epoch ends"


def driver_killed(training: Training) -> str:
    driver = training.start()
    training.reach(19, driver)
    driver.kill()
    training.finish(driver, -signal.SIGKILL)
    training.finish()
    return "driver killed (-9) in step 20, same command again"


def job_stopped(training: Training) -> str:
    """Stop the job with Ray's own commands."""
    name = training.folder.name
    driver = training.submit(name)
    stopper = training.ray("job", "stop", name)
    training.reach(18, driver)
    training.finish(stopper, line="\n")
    said = training.finish(driver)
    step = _stopped(training, said)
    training.finish(training.submit(f"{name}-again"))
    return f"`ray job stop`: a checkpoint of step {step} was left; submitted again"


def interrupted(training: Training) -> str:
    driver = training.start()
    training.reach(18, driver)
    driver.send_signal(signal.SIGINT)
    step = _stopped(training, training.finish(driver, hydra_main.INTERRUPTED))
    training.finish()
    return f"driver interrupted (SIGINT): a checkpoint of step {step} was left; same command again"


def _stopped(training: Training, said: str) -> int:
    """Return the step at which a training says it was stopped; it must have a checkpoint and be the last step done."""
    newest = int(training.checkpoints()[-1].name)
    if f"saved at step {newest} of" not in said or not 18 <= newest == training.step() < training.train["steps"]:
        raise RunError(
            f"stopped after step {training.step()}, the newest checkpoint is of step {newest}: {said[-500:]}"
        )
    return newest


def power_cut(training: Training) -> str:
    driver = training.start()
    training.reach(21, driver)
    driver.kill()
    for rank in (0, 1):
        training.kill(rank)
    training.finish(driver, -signal.SIGKILL)
    training.finish()
    return "driver and all workers killed (-9) in step 22, same command again"


def worker_frozen(training: Training) -> str:
    driver = training.start(stall_s=12.0)
    training.reach(21, driver)
    pid = training.kill(1, signal.SIGSTOP)
    try:
        training.finish(driver)
    finally:
        if pid in training.workers().values():
            os.kill(pid, signal.SIGKILL)
    return "worker 1 frozen (SIGSTOP) in step 22; after the watchdog's timeout the workers restart"


def checkpoint_truncated(training: Training) -> str:
    driver = training.start()
    training.reach(27, driver)
    driver.kill()
    training.finish(driver, -signal.SIGKILL)
    newest = training.checkpoints()[-1]
    os.truncate(newest / "tensors.safetensors", (newest / "tensors.safetensors").stat().st_size - 8)
    training.finish()
    return f"checkpoint of step {int(newest.name)} truncated by 8 bytes; the run went back to the one before"


def shard_corrupt_stop(training: Training) -> str:
    """Uses a data set of its own: one shard is damaged before the start and repaired afterwards."""
    shard = Path(training.data["labelled"]) / "shard-000003.tar"
    content = shard.read_bytes()
    toy.damage(training.data["labelled"], 3, (5,))
    said = training.finish(training.start(), expect=2)
    if shard.name not in said:
        raise RunError(f"the message does not name {shard.name}: {said[-500:]}")
    shard.write_bytes(content)
    training.finish()
    return f"a sample of {shard.name} corrupted: stopped with its name; repaired, same command again"


def shard_corrupt_skip(training: Training) -> str:
    """Compared with the undisturbed run ``undisturbed_skip`` on the same damaged data."""
    driver = training.start()
    training.reach(30, driver)
    training.kill(0)
    training.finish(driver)
    skipped = (runs.summary(str(training.folder)) or {})["skipped"]
    met = sum(1 for line in training.lines() for row in line["rows"] for one in row if one < 0)
    if not skipped or skipped != met:
        raise RunError(f"{skipped} samples were counted as skipped, {met} were read")
    return f"3 samples of a shard corrupted, policy skip: {skipped} counted; worker 0 killed (-9) as well"


def storage_full(training: Training) -> str:
    driver = training.start()
    training.reach(9, driver)
    with harness.full_disk(training, 1 << 20):
        said = training.finish(driver, expect=1)
    if "make room" not in said:
        raise RunError(f"the message does not say what to do: {said[-500:]}")
    training.finish()
    return "no room for the checkpoint of step 16: stopped with a message; with room, same command again"


def resized(training: Training) -> str:
    for workers, step in ((2, 13), (1, 29)):
        driver = training.start(workers=workers)
        training.reach(step, driver)
        driver.kill()
        training.finish(driver, -signal.SIGKILL)
    training.finish()
    used = [line["workers"] for line in training.lines()]
    if sorted(set(used)) != [1, 2]:
        raise RunError(f"expected steps by 1 and by 2 workers, got {used}")
    return f"2 workers, then 1, then 2: {used.count(2)} and {used.count(1)} steps"


FAULTS: dict[str, Callable[[Training], str]] = {
    function.__name__: function
    for function in (
        worker_killed,
        worker_of_four_killed,
        worker_killed_in_checkpoint,
        worker_killed_at_the_edge,
        driver_killed,
        job_stopped,
        interrupted,
        power_cut,
        worker_frozen,
        checkpoint_truncated,
        shard_corrupt_stop,
        shard_corrupt_skip,
        storage_full,
        resized,
    )
}
