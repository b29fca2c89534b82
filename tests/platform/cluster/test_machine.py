"""What a cluster needs of its machine: cores that are granted, a usable temporary folder, no proxy to itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mosar.errors import ConfigError, RunError
from mosar.platform.cluster import connection, cores, temporary
from mosar.platform.training import resources
from mosar.platform.training.train_config import TrainConfig


def test_cores_are_at_most_those_of_the_affinity() -> None:
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    program += "from mosar.platform.cluster.core_count import cores; print(cores())"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "1\n"


@pytest.mark.parametrize(
    ("version", "quota", "expected"), [(2, "max 100000", 64), (2, "150000 100000", 1), (2, "400000 100000", 4),
                                       (2, "50000 100000", 1), (1, "-1 100000", 64), (1, "300000 100000", 3)]
)  # fmt: skip
def test_cores_are_at_most_those_of_the_cgroup(
    version: int, quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr("mosar.platform.cluster.core_count._QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("mosar.platform.cluster.core_count._QUOTA_V1", tmp_path)
    if version == 2:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    else:
        for name, value in zip(("quota", "period"), quota.split(), strict=True):
            (tmp_path / f"cpu.cfs_{name}_us").write_text(value + "\n")
    assert cores() == expected


def test_a_long_temporary_folder_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    with temporary.ray_folder() as folder:
        assert folder.is_dir()
        assert len(str(folder)) <= 40
    assert not folder.exists()
    assert list(long.iterdir()) == []


@pytest.mark.parametrize("kind", ["long", "missing"])
def test_a_chosen_folder_that_ray_cannot_use_is_named(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / ("long" * 20)
    if kind == "long":
        place.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    with pytest.raises(RunError, match=str(place)), temporary.ray_folder():
        pass


def test_requests_to_this_machine_pass_by_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.request

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with connection.changed_environment(connection.unproxied()):
        assert os.environ["no_proxy"] == "example.org,127.0.0.1,localhost"
        assert urllib.request.proxy_bypass("127.0.0.1:8265")
        assert urllib.request.proxy_bypass("localhost:8265")
        assert not urllib.request.proxy_bypass("elsewhere.org")
    assert os.environ["no_proxy"] == "example.org"
    assert "NO_PROXY" not in os.environ


def test_a_worker_that_fits_no_node_is_refused() -> None:
    config = TrainConfig(steps=1, batch=1, cpus=8.0)
    with pytest.raises(ConfigError, match=r"asks for 8 CPUs, but the largest of the cluster's 3 node\(s\) has 4"):
        resources.check_node(config, [4.0, 4.0, 2.0])
    resources.check_node(config, [4.0, 8.0])
