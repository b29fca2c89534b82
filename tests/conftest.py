"""Settings of every test: no network, one torch thread (several would contend with Ray's processes on few cores).

Two processes run the suite. Tests of one file run in one process. Tests that need Ray clusters form two groups: one
process runs the tests on the shared cluster, of which the pipeline is the longest, while the other runs the tests
without a cluster, then disturbed runs and drills.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["OMP_NUM_THREADS"] = "1"

import filelock
import pytest
import torch

if TYPE_CHECKING:
    from mosar.models.stages.segmentation.network import Segmentation
    from mosar.platform.cluster import LocalCluster

torch.set_num_threads(1)

_FIRST = (
    "tests/platform/cluster/test_tokens.py",
    "tests/platform/runs/test_run_lock.py",
    "tests/platform/data/test_scheduling_pause.py",
    "tests/pipeline/",
)
_LAST = (
    "tests/jobs/test_train_runs.py",
    "tests/jobs/test_drill.py",
)
"""Tests that need Ray, in the order in which they run: one process begins with the first group, the other ends with
the last."""


def _group(nodeid: str, group: tuple[str, ...]) -> int | None:
    return next((i for i, name in enumerate(group) if nodeid.startswith(name)), None)


def _rank(nodeid: str) -> tuple[int, int]:
    first, last = _group(nodeid, _FIRST), _group(nodeid, _LAST)
    return (0, first) if first is not None else (2, last) if last is not None else (1, 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)  # the hook exists only with pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return {0: "first", 1: nodeid.split("::", maxsplit=1)[0], 2: "last"}[_rank(nodeid)[0]]

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def shared_cluster() -> "Iterator[LocalCluster]":
    """A cluster for several files of tests: each start of one takes as long as many tests."""
    from mosar.platform import cluster
    from mosar.platform.training.graceful_stop import WATCHER

    # Its only node is never taken away; a watcher of each run would be one more process of each.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WATCHER, "0")
        with cluster.local_cluster(dashboard=True) as local:
            yield local


@pytest.fixture(scope="session")
def many_runs(tmp_path_factory: pytest.TempPathFactory) -> filelock.FileLock:
    """Held while many runs train at once: the memory of a small machine does not hold two times as many."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    return filelock.FileLock(shared / "many_runs.lock")


@pytest.fixture
def fixed_segmentation() -> "Callable[[torch.Tensor], Segmentation]":
    """Makes a segmentation that answers with the given frequencies (k, 64, 64) of the classes, whatever it sees."""
    from mosar.models.networks.unet import UNetConfig
    from mosar.models.stages.segmentation import Config
    from mosar.models.stages.segmentation.network import Segmentation

    def make(frequency_khw: torch.Tensor) -> Segmentation:
        network = Segmentation(Config(crop_size=64, network=UNetConfig(width=8, levels=2)))
        for value in network.parameters():
            torch.nn.init.zeros_(value)
        network.frequency_1khw.copy_(frequency_khw[None])
        return network

    return make


@pytest.fixture
def ship_segmentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fixed_segmentation: "Callable[[torch.Tensor], Segmentation]"
) -> Callable[[torch.Tensor], Path]:
    """Ships such a segmentation in place of the trained one; returns its file."""
    from mosar.models.stages.segmentation import released

    def ship(frequency_khw: torch.Tensor) -> Path:
        released.PATH.write_bytes(released.to_file(fixed_segmentation(frequency_khw)))
        return released.PATH

    monkeypatch.setattr(released, "PATH", tmp_path / "released.safetensors")
    return ship


@pytest.fixture(scope="session")
def head() -> Any:
    """The default head."""
    from mosar.models.head import load_head

    return load_head()
