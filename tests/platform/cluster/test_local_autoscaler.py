from pathlib import Path

import pytest
import yaml

from mosar.errors import ConfigError
from mosar.platform import cluster
from mosar.platform.cluster import local_autoscaler

SHIPPED = Path(__file__).resolve().parents[3] / "ray_cluster.yaml"


def test_the_shipped_cluster_fits_rays_schema_and_asks_for_tokens() -> None:
    config = local_autoscaler.load(SHIPPED)
    types = config["available_node_types"]
    assert {name: kind["max_workers"] for name, kind in types.items()} == {"head": 0, "data": 4, "train": 8}
    assert types["train"]["resources"]["GPU"] == 1
    starts = [c for c in config["head_start_ray_commands"] + config["worker_start_ray_commands"] if "ray start" in c]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]


def test_the_twin_has_the_shipped_node_types_and_fits_the_schema_too(tmp_path: Path) -> None:
    import json

    shipped = local_autoscaler.load(SHIPPED)
    made = local_autoscaler.make(shipped, "127.0.0.1:6379", 0.1)
    kinds = made["available_node_types"]
    assert kinds.pop(local_autoscaler.HEAD)["resources"] == shipped["available_node_types"]["head"]["resources"]
    for name, kind in kinds.items():
        assert kind["resources"] == shipped["available_node_types"][name]["resources"]
    (tmp_path / "bad.yaml").write_text(json.dumps({"cluster_name": "x", "provider": {"type": "aws"}, "nonsense": 1}))
    with pytest.raises(ConfigError, match="nonsense"):
        local_autoscaler.load(tmp_path / "bad.yaml")


def test_heads_tell_jobs_the_capacity_of_the_full_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = local_autoscaler.load(SHIPPED)
    told = ",".join(f"{name}={amount:g}" for name, amount in local_autoscaler.capacity(shipped).items())
    (start,) = [command for command in shipped["head_start_ray_commands"] if "ray start" in command]
    assert f"{cluster.CAPACITY}={told} " in start
    kubernetes = yaml.safe_load((SHIPPED.parent / "deploy" / "kubernetes" / "cluster.yaml").read_text())
    (head,) = kubernetes["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
    assert {"name": cluster.CAPACITY, "value": told} in head["env"]
    monkeypatch.setenv(cluster.CAPACITY, told)
    assert cluster.growth() == local_autoscaler.capacity(shipped)
    monkeypatch.setenv(cluster.CAPACITY, "many")
    with pytest.raises(ConfigError, match="many"):
        cluster.growth()


def test_capacity_counts_all_nodes_within_the_limit_over_all_types() -> None:
    kinds = {
        "head": {"resources": {"CPU": 2}, "max_workers": 0},
        "few": {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 9},
    }
    assert local_autoscaler.capacity({"head_node_type": "head", "max_workers": 3, "available_node_types": kinds}) == {
        "CPU": 14,
        "GPU": 3,
    }
