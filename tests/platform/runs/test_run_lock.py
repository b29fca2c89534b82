"""A run has one driver at a time."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mosar.errors import ConfigError, UnheardError
from mosar.platform import cluster
from mosar.platform.runs import run_lock

DRIVER = """
import sys, time
from mosar.platform import cluster
from mosar.platform.runs import run_lock
with cluster.connect(), run_lock.held(sys.argv[1]):
    print("holds", flush=True)
    time.sleep(600)
"""


def test_a_run_is_held_by_one_driver_until_it_ends_or_is_killed(
    shared_cluster: cluster.LocalCluster, tmp_path: Path
) -> None:
    run, other = str(tmp_path / "run"), str(tmp_path / "other")
    with cluster.using(shared_cluster):
        with contextlib.ExitStack() as stack:
            stack.enter_context(run_lock.held(run))
            stack.enter_context(run_lock.held(other))
            with pytest.raises(ConfigError, match="another driver"):
                stack.enter_context(run_lock.held(run, 0.5))
        with run_lock.held(run):
            pass
        with pytest.raises(UnheardError), run_lock.held(other):
            raise UnheardError("workers of this driver may still start")
        with pytest.raises(ConfigError, match="another driver"), run_lock.held(other, 0.5):
            pass
        command = [sys.executable, "-c", DRIVER, run]
        environment = {**os.environ, **shared_cluster.environment}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as driver:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "holds\n"
            with pytest.raises(ConfigError, match="another driver"), run_lock.held(run, 0.5):
                pass
            driver.send_signal(signal.SIGKILL)
        with run_lock.held(run):
            pass
