import functools
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import prometheus_client
import pytest

from mosar.config import parse
from mosar.jobs.fault_injection import toy
from mosar.platform import cluster
from mosar.platform.monitoring import metrics
from mosar.platform.runs import checkpoint, run
from mosar.platform.training import trainer
from mosar.platform.training.train_config import TrainConfig

ROOT = Path(__file__).resolve().parents[3]
TRAIN = {"steps": 60, "batch": 8, "checkpoint_every": 60, "log_every": 2, "evaluate_every": 8, "evaluate_batches": 1}
TRAIN |= {"lr": 0.3, "decay": "constant", "keep": 1}


def test_metrics_outside_ray_have_the_names_that_ray_exports() -> None:
    metrics.Counter("test_skipped", "Skipped samples", ("run",)).add(2, run="a")
    metrics.Counter("test_skipped", "Skipped samples", ("run",)).add(run="a")
    metrics.Gauge("test_loss", "Loss").set(0.5)
    metrics.Histogram("test_seconds", "Seconds").observe(0.2)
    text = prometheus_client.generate_latest().decode()
    assert 'ray_test_skipped_total{run="a"} 3.0' in text
    assert "ray_test_loss 0.5" in text
    assert 'ray_test_seconds_bucket{le="0.3"} 1.0' in text


def test_dashboard_and_documentation_name_exactly_the_metrics_of_the_code() -> None:
    told = {metric.name for metric in metrics.ALL}
    defined = {value.name for value in vars(metrics).values() if isinstance(value, metrics.Metric)}
    assert told == defined
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "mosar.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"ray_(mosar_[a-z_]+?)(?:_total|_bucket|_sum|_count)?\b", target["expr"])
    }
    assert asked == told
    documented = set(re.findall(r"`ray_(mosar_[a-z_]+?)(?:_total)?`", (ROOT / "docs" / "cluster.md").read_text()))
    assert documented == told


def test_prometheus_scrapes_a_training_run_which_keeps_its_best_checkpoint(tmp_path: Path) -> None:
    prometheus = shutil.which("prometheus")
    if not prometheus:
        pytest.skip("no Prometheus on this machine; apt-get install prometheus")
    web = f"127.0.0.1:{cluster.free_ports(1)[0]}"
    data = toy.make_data(str(tmp_path / "data"), ["labelled", "unlabelled"])
    stage = toy.Stage(pause_s=0.2, pids=str(tmp_path / "pids"))
    build = functools.partial(toy.build, stage)
    spec = trainer.prepare(
        str(tmp_path / "scraped"), stage, build, data, toy.decoder, parse(TrainConfig, TRAIN, "train"), {}
    )
    with cluster.local_cluster(dashboard=True) as local, cluster.using(local):
        import ray

        targets = [f"127.0.0.1:{node['MetricsExportPort']}" for node in ray.nodes()]
        jobs = [{"job_name": "ray", "scrape_interval": "1s", "static_configs": [{"targets": targets}]}]
        (tmp_path / "prometheus.yml").write_text(json.dumps({"scrape_configs": jobs}))
        command = [prometheus, f"--config.file={tmp_path / 'prometheus.yml'}", f"--web.listen-address={web}"]
        command.append(f"--storage.tsdb.path={tmp_path / 'tsdb'}")
        with (tmp_path / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            trainer.fit(spec)
            found = {
                name: scraped(web, f"ray_mosar_train_{name}")
                for name in ("step", "loss", "samples_per_second", "wait_share", "skipped_samples")
            }
            checkpoints = scraped(web, "ray_mosar_train_checkpoint_seconds_count")
        finally:
            process.terminate()
            process.wait()
    assert all(values for values in found.values()), found
    assert 0 < max(found["step"]) <= TRAIN["steps"]
    assert max(found["samples_per_second"]) > 0
    assert max(found["skipped_samples"]) == 0
    assert 0 <= min(found["wait_share"]) <= max(found["wait_share"]) <= 1
    assert max(checkpoints) >= 1
    losses = {line["step"]: line["heldout"]["loss"] for line in run.metrics(spec.location) if "heldout" in line}
    best = min(losses, key=lambda step: losses[step])
    assert 0 < best < 60, losses
    assert checkpoint.steps(spec.location) == [best, 60]


def scraped(web: str, name: str, patience_s: float = 20.0) -> list[float]:
    """All values of a metric over the last ten minutes."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        query = urllib.parse.urlencode({"query": f"{name}[10m]"})
        with urllib.request.urlopen(f"http://{web}/api/v1/query?{query}", timeout=5) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        if result:
            return [float(value) for series in result for _, value in series["values"]]
        time.sleep(0.5)
    return []
