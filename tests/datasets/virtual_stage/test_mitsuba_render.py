import dataclasses
import sys

import numpy as np
import pytest

from mosar.datasets import lights, path_tracer, schema
from mosar.datasets.virtual_stage import hair, hands, hats, renderers, skin
from mosar.datasets.virtual_stage.capture import VirtualStage, capture
from mosar.datasets.virtual_stage.geometry import Body, Strands
from mosar.datasets.virtual_stage.strands import Hull
from mosar.datasets.virtual_stage.subjects import sample_subject
from mosar.datasets.virtual_stage.uv_regions import atlas
from mosar.errors import ConfigError
from mosar.jobs.evaluation import realism
from mosar.jobs.sources import virtual
from mosar.models.head import load_head, occlusion, vertex_normals

MAPS, SIZE = 64, 64


@pytest.fixture(scope="module")
def head():
    return load_head()


@pytest.fixture(scope="module")
def body(head):
    import torch

    normals = vertex_normals(torch.tensor(head.template_v3)[None], torch.tensor(head.triangles_f3))[0].numpy()
    return Body(head.template_v3, normals, np.ones_like(normals), np.array([0.0, 0, 900]), 0.3)


def shot(head, seed, renderer):
    subject = sample_subject(head, seed)
    stage = VirtualStage(head, MAPS, SIZE, lights.TRAIN_LIGHTS, renderer)
    return capture(stage, subject, skin.paint(atlas(head, MAPS), subject), 0)[0]


def test_both_renderers_see_the_same_capture(head):
    pytest.importorskip("mitsuba")
    fast, path = (shot(head, 4, renderer) for renderer in ("fast", "path"))
    assert schema.encode(path) == schema.encode(shot(head, 4, "path"))
    for name in schema.KINDS["lightstage"]:
        if name not in ("image", "capture", *schema.DETECTION):
            np.testing.assert_equal(path[name], fast[name])
    assert path["capture"]["renderer"] == "path"
    a, b = (s["image"].astype(float).mean(-1) for s in (fast, path))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.85  # neither mirrored nor shifted
    face = fast["mask"] > 0
    assert 0.6 < b[face].mean() / a[face].mean() < 1.4


def test_a_non_finite_pixel_takes_its_neighbours_median():
    picture = np.random.default_rng(0).random((6, 6, 4)).astype(np.float32)
    spoilt = picture.copy()
    spoilt[2, 3, 1], spoilt[0, 0] = np.nan, np.inf
    mended = path_tracer._mended(spoilt)
    np.testing.assert_array_equal((mended != picture).any(-1).nonzero(), ([0, 2], [0, 3]))
    around = np.delete(picture[1:4, 2:5].reshape(9, 4), 4, 0)
    np.testing.assert_allclose(mended[2, 3], np.median(around, 0))


def test_without_the_path_tracer_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    renderers.check("fast")
    for choice in ("path", "mixed"):
        with pytest.raises(ConfigError, match=r"\.\[path\]"):
            renderers.check(choice)


def test_mixed_renderers_are_drawn_by_share():
    task = virtual.Task("lightstage", "train", 0, 1, 1, 64, 64, "mixed", 0.3)
    drawn = [virtual._renderer(task, seed, 0) for seed in range(300)]
    assert 0.2 < np.mean([r == "path" for r in drawn]) < 0.4


@pytest.mark.parametrize("style", sorted(hair.STYLES))
def test_hair_stays_out_of_the_head_and_off_the_face(style, head, body):
    subject = dataclasses.replace(sample_subject(head, 6), style=style)
    a = atlas(head, MAPS)
    hull = Hull.of(head, body, hair.skull(a, head, body))
    mesh = hair.hair(head, a, subject, body, hull)[1]
    strands = mesh.strands
    assert isinstance(strands, Strands)
    assert len(strands.points_sk3) > 50
    assert np.isfinite(mesh.vertices_x3).all()
    assert 0 <= strands.albedo_sk3.min() <= strands.albedo_sk3.max() <= 0.8
    points = strands.points_sk3.reshape(-1, 3)
    reach, _ = hull.radius(points)
    inside = np.linalg.norm(points - hull.centre_3, axis=1) < reach - 6
    assert inside.mean() < 0.05
    assert hair._before_face(strands.points_sk3, hull).mean() < 0.15
    if style != "bald":
        assert {f.tobytes() for f in hair.hair(head, a, subject, body, hull)[1].vertices_x3[:9]} == {
            f.tobytes() for f in mesh.vertices_x3[:9]
        }


def test_some_people_wear_hats_and_some_captures_show_hands(head, body):
    people = [sample_subject(head, seed) for seed in range(150)]
    worn = [p for p in people if hats.kind(p) != "none"]
    assert 3 < len(worn) < 35
    a = atlas(head, MAPS)
    hull = Hull.of(head, body, hair.skull(a, head, body))
    for subject in worn[:3]:
        hat = hats.hat(head, a, subject, body)
        assert hat.vertices_x3[:, 1].max() > body.vertices_v3[:, 1].max()
    shown = [hands.hand(people[0], hull, np.random.default_rng(s)) for s in range(200)]
    seen = [h for h in shown if len(h.triangles_g3)]
    assert 1 <= len(seen) < 30
    size = np.ptp(seen[0].vertices_x3, 0)
    assert 60 < size.max() < 260  # mm


def test_lamps_are_in_the_environment_map():
    light = lights.random_light(np.random.default_rng(3), ["forest"], lamps=6)
    assert len(light.lamps_k6)
    import torch

    from mosar.models.shading import sh

    low = sh.from_environment(torch.from_numpy(lights.environment(light)).double())[:9].numpy()
    np.testing.assert_allclose(low, light.sh_l3[:9], atol=0.06 * np.abs(light.sh_l3[:9]).max())


def test_distances_end_at_the_head_or_are_infinite(head):
    far = occlusion.distances(
        head, head.template_v3, np.array([[0.0, 0, 500], [0, 900, 0]]), np.array([[0, 0, -1.0], [0, 1, 0]])
    )
    assert 350 < far[0] < 500
    assert far[1] > 1e6


def test_realism_needs_portraits_and_separates_different_pictures(monkeypatch):
    monkeypatch.delenv("MOSAR_PORTRAITS", raising=False)
    noise = np.random.default_rng(0)
    dark, light = (list(noise.integers(low, low + 90, (20, 96, 96, 3)).astype(np.uint8)) for low in (0, 150))
    assert realism.realism_auc(dark) == (None, "MOSAR_PORTRAITS is not set to a folder of portraits")
    monkeypatch.setattr(realism, "portraits", lambda count: (light, None))
    assert realism.realism_auc(dark)[0] > 0.95
    monkeypatch.setattr(realism, "portraits", lambda count: (dark[10:], None))
    assert 0.1 < realism.realism_auc(dark[:10])[0] < 0.9
