"""Settings of every test: no network, one torch thread (several would contend with Ray's processes on few cores).

Two processes run the suite. All tests that start Ray clusters run in one of them, one after another: on two cores, two
clusters slow each other down several times. Tests of one file run in one process. The longest tests run first.
"""

import os
from typing import Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

torch.set_num_threads(1)

_CLUSTERS = (
    "tests/pipeline/",
    "tests/jobs/test_train_runs.py",
    "tests/jobs/test_drill.py",
    "tests/platform/monitoring/test_metrics.py",
    "tests/platform/runs/test_run_lock.py",
    "tests/platform/cluster/",
)
"""Tests that start Ray, in the order in which they run."""


def _rank(nodeid: str) -> int:
    return next((i for i, name in enumerate(_CLUSTERS) if nodeid.startswith(name)), len(_CLUSTERS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)  # the hook exists only with pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "clusters" if _rank(nodeid) < len(_CLUSTERS) else nodeid.split("::", maxsplit=1)[0]

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def head() -> Any:
    """The default head."""
    from mosar.models.head import load_head

    return load_head()
