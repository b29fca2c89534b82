"""A photograph stays on the machine: nothing leaves it while an avatar is made."""

import shutil
import subprocess
from typing import Any

import pytest

from mosar.jobs.fault_injection.drills import sealed


def test_the_command_line_sends_no_packet(pipeline: Any) -> None:
    """The drill also seals shard making and the endpoint."""
    command = ["unshare", "--user", "--map-root-user", "--net", "true"]
    if not shutil.which("ip") or not shutil.which("unshare") or subprocess.run(command, check=False).returncode:
        pytest.skip("no network namespaces here: they need Linux, iproute2 and unprivileged user namespaces")
    metrics = sealed.run(sealed.Config(("reconstruct",), bundle="mine", storage=str(pipeline.storage)))
    assert metrics["test_call"] > 0
    assert metrics["reconstruct"] == 0
    assert sealed.short(metrics) == []
