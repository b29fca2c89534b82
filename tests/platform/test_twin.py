from pathlib import Path

import pytest

from mosar.errors import ConfigError
from mosar.platform import twin

SHIPPED = Path(__file__).resolve().parents[2] / "ray_cluster.yaml"


def test_the_shipped_cluster_fits_rays_schema_and_asks_for_tokens() -> None:
    config = twin.load(SHIPPED)
    types = config["available_node_types"]
    assert {name: kind["max_workers"] for name, kind in types.items()} == {"head": 0, "data": 4, "train": 8}
    assert types["train"]["resources"]["GPU"] == 1
    starts = [c for c in config["head_start_ray_commands"] + config["worker_start_ray_commands"] if "ray start" in c]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]


def test_the_twin_has_the_shipped_node_types_and_fits_the_schema_too(tmp_path: Path) -> None:
    import json

    shipped = twin.load(SHIPPED)
    made = twin.make(shipped, "127.0.0.1:6379", 0.1)
    kinds = made["available_node_types"]
    assert kinds.pop(twin.HEAD)["resources"] == shipped["available_node_types"]["head"]["resources"]
    for name, kind in kinds.items():
        assert kind["resources"] == shipped["available_node_types"][name]["resources"]
    (tmp_path / "bad.yaml").write_text(json.dumps({"cluster_name": "x", "provider": {"type": "aws"}, "nonsense": 1}))
    with pytest.raises(ConfigError, match="nonsense"):
        twin.load(tmp_path / "bad.yaml")
