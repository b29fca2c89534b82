import numpy as np
import pytest

from mosar.datasets.head_building.uv_metrics import chart_metrics
from mosar.datasets.head_building.uv_parameterization import boundary_loop, parameterize
from mosar.errors import DataError


def dome(rings=7, around=16):
    """A symmetric open dome: vertices, triangles wound outwards, mirror map."""
    vertices, mirror = [(0.0, 100.0, 0.0)], [0]
    for r in range(1, rings + 1):
        angle = 0.75 * np.pi * r / rings
        for k in range(around):
            turn = 2 * np.pi * k / around
            vertices.append(
                (100 * np.sin(angle) * np.sin(turn), 100 * np.cos(angle), 100 * np.sin(angle) * np.cos(turn))
            )
            mirror.append(1 + (r - 1) * around + (-k) % around)
    triangles = [(0, 1 + k, 1 + (k + 1) % around) for k in range(around)]
    for r in range(rings - 1):
        for k in range(around):
            a, b = 1 + r * around + k, 1 + r * around + (k + 1) % around
            c, d = a + around, b + around
            triangles += [(a, c, d), (a, d, b)] if k < around // 2 else [(a, c, b), (b, c, d)]
    vertices, triangles, mirror = np.array(vertices), np.array(triangles), np.array(mirror)
    vertices[:, 0] *= np.abs(vertices[:, 0]) > 1e-9
    return vertices, triangles, mirror


def test_the_default_chart_meets_its_targets(head):
    metrics = chart_metrics(head, 512)
    assert metrics["uv_flipped_triangles"] == 0
    assert metrics["uv_overlap_texels"] == 0
    assert metrics["uv_symmetry_error"] <= 0.002
    assert metrics["uv_face_share"] >= 0.55
    assert metrics["uv_stretch_p95_over_p5"] <= 3
    assert metrics["uv_anisotropy_p95"] <= 2.5


def test_the_chart_looks_like_the_face_seen_from_the_front(head):
    def place(point):
        triangle = head.landmark_triangle_l[point]
        return head.landmark_barycentric_l3[point] @ head.uv_w2[head.uv_triangles_f3[triangle]]

    nose, chin, left_eye, right_eye = (place(i) for i in (4, 152, 263, 33))
    assert abs(nose[0] - 0.5) < 0.02
    assert chin[1] < nose[1] < left_eye[1]
    assert right_eye[0] < 0.5 < left_eye[0]


def test_a_dome_fills_the_square_without_flips():
    vertices, triangles, mirror = dome()
    uv, uv_triangles = parameterize(vertices, triangles, mirror, np.ones(len(triangles)))
    corners = uv[uv_triangles]
    doubled = np.linalg.det(np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], 1))
    assert (doubled > 0).all()
    np.testing.assert_allclose(doubled.sum() / 2, 1.0, atol=1e-9)
    assert uv.min() >= 0
    assert uv.max() <= 1
    front = uv_triangles[triangles == np.argmax(vertices[:, 2])][0]
    assert abs(uv[front, 0] - 0.5) < 1e-12
    # Only the cut doubles vertices: the crown is shared.
    assert len(vertices) < len(uv) <= len(vertices) + 8


def test_a_larger_intended_scale_gives_more_area():
    vertices, triangles, mirror = dome()
    front = vertices[triangles].mean(1)[:, 2] > 30
    shares = []
    for scale in (1.0, 3.0):
        uv, uv_triangles = parameterize(vertices, triangles, mirror, np.where(front, scale, 1.0))
        c = uv[uv_triangles][front]
        shares.append(np.linalg.det(np.stack([c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]], 1)).sum() / 2)
    assert shares[1] > 1.2 * shares[0]


def test_a_closed_or_torn_skin_is_refused():
    vertices, triangles, mirror = dome()
    with pytest.raises(DataError, match="several boundary loops"):
        boundary_loop(triangles[1:])
    tetrahedron = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    with pytest.raises(DataError, match="closed"):
        boundary_loop(tetrahedron)
    with pytest.raises(DataError, match="clockwise"):
        parameterize(vertices, triangles[:, ::-1], mirror, np.ones(len(triangles)))
