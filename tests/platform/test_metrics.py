import prometheus_client

from mosar.platform import metrics


def test_outside_ray_metrics_are_prometheus_ones_under_rays_names() -> None:
    metrics.counter("test_skipped", "Skipped samples", ["run"]).add(2, run="a")
    metrics.counter("test_skipped", "Skipped samples", ["run"]).add(run="a")
    metrics.gauge("test_loss", "Loss").set(0.5)
    metrics.histogram("test_seconds", "Seconds").observe(0.2)
    text = prometheus_client.generate_latest().decode()
    assert 'ray_test_skipped_total{run="a"} 3.0' in text
    assert "ray_test_loss 0.5" in text
    assert 'ray_test_seconds_bucket{le="0.3"} 1.0' in text
