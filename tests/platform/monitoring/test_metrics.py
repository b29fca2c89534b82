import json
import re
from pathlib import Path

import prometheus_client

from mosar.platform.monitoring import metrics

ROOT = Path(__file__).resolve().parents[3]


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
