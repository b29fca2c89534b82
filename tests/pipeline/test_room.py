"""Runs that do not fit on the cluster beside what runs there."""

import threading
from typing import Any

import pytest

from mosar.errors import RunError, StoppedError
from mosar.platform import cluster
from mosar.platform.serving import endpoint
from mosar.platform.serving.config import ServingConfig
from mosar.platform.training import resources
from mosar.platform.training.train_config import TrainConfig


def test_a_run_waits_until_it_fits_and_says_what_it_asks_for(pipeline: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with cluster.using(pipeline.cluster):
        from ray.util.placement_group import placement_group, remove_placement_group

        there = cluster.capacity()
        config = TrainConfig(steps=1, batch=1, cpus=there - 1)
        asked = threading.Event()
        resources.wait_for_room(config, False, "alone", asked)
        assert capsys.readouterr().err == ""
        held = placement_group([{"CPU": 2}])
        assert held.wait(60)
        timer = threading.Timer(0.5, asked.set)
        timer.start()
        with pytest.raises(StoppedError, match="second: not started"):
            resources.wait_for_room(config, False, "second", asked)
        resources_free = threading.Timer(4.0, remove_placement_group, [held])
        resources_free.start()
        resources.wait_for_room(config, False, "third", threading.Event())  # goes on when there is room
        said = capsys.readouterr().err
        assert f"third: waits for room: asks for 1 worker(s) of {there - 1:g} CPU" in said
        assert f"the cluster has {there:g} CPU, {there - 2:g} free" in said


def test_workers_whose_room_was_taken_meanwhile_say_so(pipeline: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with cluster.using(pipeline.cluster):
        from ray.util.placement_group import placement_group, remove_placement_group

        config, ended = TrainConfig(steps=1, batch=1, cpus=cluster.capacity() + 1), threading.Event()
        group = placement_group([{"CPU": config.cpus}])
        timer = threading.Timer(60, ended.set)
        timer.start()
        resources.watch_room(config, False, "late", ended)
        timer.cancel()
        remove_placement_group(group)
        assert f"late: waits for room: asks for 1 worker(s) of {config.cpus:g} CPU" in capsys.readouterr().err


def test_a_replica_that_fits_no_node_is_refused(pipeline: Any) -> None:
    with cluster.using(pipeline.cluster), pytest.raises(RunError, match=r"serving\.gpus: a replica asks for 1 GPU"):
        endpoint._check_resources(ServingConfig(gpus=1.0))
