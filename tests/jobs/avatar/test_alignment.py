import numpy as np
import pytest
import trimesh

from mosar.jobs.evaluation.avatar import alignment, shape

RNG = np.random.default_rng(0)


def rotation(*angles):
    return trimesh.transformations.euler_matrix(*angles)[:3, :3]


@pytest.mark.parametrize("scaled", [True, False])
def test_alignment_finds_the_motion(scaled):
    source, weight = RNG.normal(size=(60, 3)), RNG.uniform(0.1, 1, 60)
    turn, scale = rotation(0.3, -0.2, 0.5), 1.7 if scaled else 1.0
    target = scale * source @ turn.T + [1, 2, 3]
    target[0] += 100.0
    weight[0] = 0.0  # an outlier without weight does not count
    found = alignment.fit(source, target, weight, scaled)
    np.testing.assert_allclose(found.rotation_33, turn, atol=1e-9)
    assert found.scale == pytest.approx(scale)
    np.testing.assert_allclose(found(source)[1:], target[1:], atol=1e-9)


def test_a_mirrored_face_is_no_rotation():
    source = RNG.normal(size=(60, 3))
    found = alignment.fit(source, source * [-1, 1, 1])
    assert np.linalg.det(found.rotation_33) == pytest.approx(1.0)


def test_closest_points_are_those_of_a_search_over_all_triangles():
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=50.0)
    points = RNG.normal(size=(40, 3))
    points *= RNG.uniform(40, 60, (40, 1)) / np.linalg.norm(points, axis=1, keepdims=True)
    found, normal = alignment.Surface(np.asarray(mesh.triangles)).closest(points)
    assert ((normal * found).sum(1) > 45).all()
    every = trimesh.triangles.closest_point(
        np.tile(mesh.triangles, (len(points), 1, 1)), np.repeat(points, len(mesh.triangles), axis=0)
    ).reshape(len(points), -1, 3)
    nearest = np.linalg.norm(every - points[:, None], axis=-1).min(1)
    np.testing.assert_allclose(np.linalg.norm(found - points, axis=1), nearest, atol=1e-9)


def test_icp_forgets_a_small_motion():
    corners = np.asarray(trimesh.creation.icosphere(subdivisions=3, radius=50.0).apply_scale([1, 1.3, 0.8]).triangles)
    points = corners[::3].mean(1) @ rotation(0.02, 0.03, -0.02).T + [0.5, -0.4, 0.3]
    assert alignment.icp(points, alignment.Surface(corners), np.ones(len(points))).mean() < 0.02


def test_a_longer_nose_is_an_error_of_the_nose(head):
    true = head.template_v3.astype(np.float64)
    found = true.copy()
    nose = head.region("nose")
    tip = true[nose][true[nose][:, 2].argmax()]
    bump = np.exp(-((true - tip) ** 2).sum(1) / 2 / 8.0**2)
    found[:, 2] += 4.0 * bump * nose
    errors = shape.region_mm(head, found, true)
    assert errors["nose"] > 3 * max(errors[r] for r in ("forehead", "cheek"))
    assert errors["all"] == pytest.approx(np.mean([errors[r] for r in shape.REGIONS]))
    assert 0 < shape.vertex_mm(head, found, true) < 1


def test_size_and_place_of_a_head_do_not_count(head):
    true = head.template_v3.astype(np.float64)
    moved = 1.1 * true @ rotation(0.1, 0.2, 0.0).T + [5, 5, 5]
    assert shape.vertex_mm(head, moved, true) < 1e-9
    assert max(shape.region_mm(head, moved, true).values()) < 1e-6
    face = shape.face_of(head)
    assert face.weight_f.sum() == pytest.approx(1.0)
