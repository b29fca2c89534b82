"""Virtual captures go through the trained pipeline, and mesh, albedo, light and camera are held against the truth."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mosar.jobs.evaluation.avatar import shape, texels
from mosar.jobs.evaluation.avatar.appearance import appearance_metrics
from mosar.jobs.evaluation.avatar.reconstruction import Bench
from mosar.jobs.evaluation.avatar.truth import Capture, places, read_captures
from mosar.models.camera import position, project
from mosar.models.colour import luminance
from mosar.models.texture_space.lighting import shading
from mosar.models.uv import chart, surface
from mosar.platform import cluster
from mosar.platform.data.actor_map import mapped_by_actors
from mosar.platform.data.manifest import open_manifest

PEOPLE = 3


@pytest.fixture(scope="module")
def bench(pipeline: Any) -> Iterator[Bench]:
    bench = Bench(pipeline.bundle)
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def pairs(pipeline: Any, bench: Bench) -> list[tuple[Any, Capture]]:
    """Avatar and truth of one capture each of people that no training saw."""
    location = str(pipeline.storage / "data" / "virtual-tiny")
    found: dict[str, tuple[Any, Capture]] = {}
    for place in places(open_manifest(location), "validation"):
        (capture,) = read_captures(location, [place], bench.head)
        if capture.subject in found or abs(capture.yaw) > 35 or len(found) == PEOPLE:
            continue
        result = bench.reconstruct(capture.photograph_hw3)
        if result.avatar is not None:
            found[capture.subject] = result.avatar, capture
    assert len(found) == PEOPLE
    return list(found.values())


def test_the_mesh_is_the_persons(pairs: list[tuple[Any, Capture]]) -> None:
    found = [shape.shape_metrics(avatar, capture.truth) for avatar, capture in pairs]
    assert np.mean([m["neutral_vertex_mm"] for m in found]) < 3.5
    assert np.mean([m["vertex_mm"] for m in found]) < 3.5
    assert np.mean([m["all_mm"] for m in found]) < 2.0
    assert np.mean([m["pose_deg"] for m in found]) < 10
    for avatar, _ in pairs:  # in millimetres, not only in shape
        head = avatar.head
        ours, template = shape.array(avatar.neutral_1v3), head.template_v3
        assert np.ptp(ours[head.region("face")], axis=0) == pytest.approx(
            np.ptp(template[head.region("face")], axis=0), rel=0.2
        )


def test_the_camera_sees_the_person_where_the_true_one_does(pairs: list[tuple[Any, Capture]]) -> None:
    for avatar, capture in pairs:
        face = torch.from_numpy(shape.face_of(avatar.head).vertex_f)
        ours, true = (project(a.camera, a.vertices_1v3[:, face])[0] for a in (avatar, capture.truth))
        size = float((true.amax(0) - true.amin(0)).max())
        assert float((ours - true).norm(dim=-1).mean()) < 0.05 * size
        towards = [torch.nn.functional.normalize(position(a.camera)[0], dim=0) for a in (avatar, capture.truth)]
        assert float((towards[0] @ towards[1]).arccos().rad2deg()) < 15


def test_albedo_and_light_explain_the_person(pairs: list[tuple[Any, Capture]], bench: Bench) -> None:
    alike = []
    for avatar, capture in pairs:
        measures = appearance_metrics(avatar, capture, bench.references)
        assert measures["diffuse_delta_e"] < 25
        assert abs(measures["lightness"] - measures["true_lightness"]) < 25
        ours, true = (_lit(avatar, capture, a.light_1lc) for a in (avatar, capture.truth))
        assert 0.4 < float(ours.mean() / true.mean()) < 2.5
        alike.append(texels.correlation(ours, true))
    assert np.mean(alike) > 0.5, alike


def _lit(avatar: Any, capture: Capture, light_1lc: torch.Tensor) -> torch.Tensor:
    """Luminance of irradiance / pi on the true face's shown texels (n)."""
    truth = capture.truth
    normal = surface(chart(avatar.head, texels.SIZE), avatar.head, truth.vertices_1v3).normal_b3hw
    shown = capture.shown_hw & texels.facial(avatar.head)
    return luminance(shading(light_1lc, normal))[0, 0][shown]


def test_actors_give_results_in_order(pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in pipeline.cluster.environment.items():
        monkeypatch.setenv(name, value)

    def start() -> Any:
        calls: list[int] = []

        def work(item: int) -> tuple[int, int]:
            calls.append(item)
            return item * item, len(calls)

        return work

    with cluster.connect():
        found = list(mapped_by_actors(list(range(9)), start, 2))
    assert [square for square, _ in found] == [i * i for i in range(9)]
    assert max(calls for _, calls in found) > 1  # an actor keeps what it has started
    assert [square for square, _ in mapped_by_actors(list(range(9)), start, 0)] == [i * i for i in range(9)]
