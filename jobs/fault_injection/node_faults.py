"""Faults of the cluster, each on its own cluster: nodes leave, with and without notice, and join."""

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mosar.errors import RunError
from mosar.jobs.fault_injection import harness
from mosar.jobs.fault_injection import node as node_process
from mosar.jobs.fault_injection.harness import Training
from mosar.platform import cluster


def node_removed(training: Training) -> str:
    """The cluster has a head node for the readers and two nodes that hold two workers each."""
    with cluster.local_cluster(logical_cpus=1) as running, _node(running) as first, _node(running) as second:
        there = dataclasses.replace(training, environment=running.environment)
        driver = there.start()
        there.reach(17, driver)
        _of_worker(there, first, second).kill()
        there.finish(driver)
    return "the node of worker 0 killed in step 18; the other node took over"


def node_drained(training: Training) -> str:
    """Like a spot node: Ray is told when the node will leave, then it leaves. The run saves no periodic checkpoints."""
    train = {**training.train, "checkpoint_every": training.train["steps"]}
    notice_s, evaluated = 20, training.train["evaluate_every"]
    with cluster.local_cluster(logical_cpus=1) as running, _node(running) as first, _node(running) as second:
        there = dataclasses.replace(training, train=train, environment=running.environment, pause_s=1.0)
        driver = there.start()
        there.reach(3, driver)
        node = _of_worker(there, first, second)
        drain = there.ray(
            *("drain-node", f"--address={running.address}", f"--node-id={node.number}", "--reason-message=drill"),
            *("--reason=DRAIN_NODE_REASON_PREEMPTION", f"--deadline-remaining-seconds={notice_s}"),
        )
        there.reach(9, driver)
        there.finish(drain, line="\n")
        gone = time.monotonic() + notice_s
        harness.wait(lambda: time.monotonic() > gone, "the end of the notice", driver)
        saved, step = [int(path.name) for path in there.checkpoints()], there.step()
        node.kill()
        there.finish(driver)
    if not any(9 <= number < step and number != evaluated for number in saved):
        raise RunError(f"no checkpoint after the notice in step 10, before step {step}: {saved}")
    return (
        f"the node of worker 0 drained (`ray drain-node`) in step 10 with a notice of {notice_s} s, then killed: saved "
        f"at step {saved[-1]} of {step}; the other node took over"
    )


def node_lost_and_back(training: Training) -> str:
    """Only Ray's elastic policy resizes the run. Each node holds a worker and its readers; the head node holds none."""
    train = {**training.train, "min_workers": 1, "resize_s": 5.0, "cpus": 1.5}
    # The surviving node stays to the end.
    with cluster.local_cluster(logical_cpus=0) as running, _node(running) as first, _node(running) as second:
        there = dataclasses.replace(training, train=train, environment=running.environment, pause_s=1.5)
        driver = there.start()
        there.reach(9, driver)
        _of_worker(there, first, second).kill()
        _wait_for_step_by(1, there, driver)
        there.reach(17, driver)  # Past a checkpoint, so that the steps of one worker count.
        with _node(running):
            _wait_for_step_by(2, there, driver)
            there.finish(driver)
    used = [line["workers"] for line in training.lines()]
    return f"2 workers, the node of one killed, 1 worker, a node added, 2 workers: {used.count(1)} steps by one"


def _wait_for_step_by(workers: int, training: Training, driver: subprocess.Popen[str]) -> None:
    """Wait for a step done from now on: after a return to a checkpoint the last line shows an older step."""
    now = time.time()

    def done() -> bool:
        last = training.lines()[-1]
        return bool(last["workers"] == workers and last["time"] > now)

    harness.wait(done, f"a step by {workers} worker(s)", driver)


@dataclass(frozen=True)
class _Node:
    """A node of a local cluster: its Ray node id and its main process."""

    number: str
    process: subprocess.Popen[str]

    def kill(self) -> None:
        """Kill all its processes at once, as in a power cut."""
        for each in (self.process.pid, *cluster.processes_below(self.process.pid)):
            harness.end(each)


def _of_worker(training: Training, *nodes: _Node) -> _Node:
    """Return the node of worker 0."""
    pid = training.workers()[0]
    return next(node for node in nodes if pid in cluster.processes_below(node.process.pid))


@contextmanager
def _node(running: cluster.LocalCluster) -> Iterator[_Node]:
    """Add a node of two logical CPUs to a local cluster until the block ends."""
    command = [sys.executable, "-m", "mosar.jobs.fault_injection.node", running.address, "2"]
    with tempfile.TemporaryFile("a+") as log:
        node = subprocess.Popen(
            command,
            env={**os.environ, **running.environment},
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )

        def up() -> bool:
            log.seek(0)
            return node_process.STARTED in log.read()

        harness.wait(up, "a second node", node)
        log.seek(0)
        number = log.read().split(node_process.STARTED)[1].split()[0]
    try:
        yield _Node(number, node)
    finally:
        below = cluster.processes_below(node.pid)
        node.send_signal(signal.SIGTERM)
        try:
            node.wait(10)
        except subprocess.TimeoutExpired:
            for each in (node.pid, *below):
                harness.end(each)
            node.wait()


ALONE: dict[str, Callable[[Training], str]] = {
    function.__name__: function for function in (node_removed, node_drained, node_lost_and_back)
}
