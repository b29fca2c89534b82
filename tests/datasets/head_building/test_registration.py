"""Scans of another topology, made by bending MakeHuman's head: what is carried over is known exactly."""

import dataclasses

import numpy as np
import pytest

from mosar.datasets.head_building import part_fit, scan_folder
from mosar.datasets.head_building.closest_points import Surface
from mosar.datasets.head_building.registration import register
from mosar.datasets.head_building.scans import Scans, expression_table
from mosar.errors import DataError
from mosar.models.head import landmarks, load_head
from mosar.models.head.head import MAKEHUMAN_PATH

HEAD = load_head(MAKEHUMAN_PATH)


def bent(points):
    """A smooth change of a head, mm: taller, and wider towards the chin."""
    x, y, z = np.moveaxis(np.asarray(points, np.float64), -1, 0)
    changed = [x * (1.05 - 0.0005 * y) + 5, 1.04 * y + 0.02 * z + 12, z + 3 * np.cos(y / 40) - 7]
    return np.stack(changed, -1)


def split(triangles, vertices):
    """Every triangle in three, around a new vertex in its middle."""
    middle = vertices.shape[-2] + np.arange(len(triangles))
    fans = [np.stack([triangles[:, i], triangles[:, (i + 1) % 3], middle], 1) for i in range(3)]
    return np.concatenate(fans), np.concatenate([vertices, vertices[..., triangles, :].mean(-2)], -2)


@pytest.fixture(scope="module")
def scans():
    """MakeHuman's template bent, with three of its modes and one of its expressions, finer."""
    chosen = [3, 40, 90]
    offsets = np.concatenate([HEAD.modes_mv3[chosen], HEAD.expressions_ev3[[HEAD.expression_names.index("jawOpen")]]])
    shapes = np.concatenate([HEAD.template_v3[None], offsets]).astype(np.float64)
    shapes[0] = bent(shapes[0])
    triangles, shapes = split(HEAD.triangles_f3, shapes)
    material = np.tile(HEAD.material_f, 3)
    visible = np.append(HEAD.region("skin"), HEAD.region("skin")[HEAD.triangles_f3].all(1))
    ball = np.unique(triangles[material == 1])
    return Scans(
        name="bent",
        mean_v3=shapes[0],
        skin_f3=triangles[(material == 0) & visible[triangles].all(1)],
        all_f3=triangles,
        modes_mv3=shapes[1:4].astype(np.float32),
        expressions={"jawOpen": shapes[4].astype(np.float32)},
        parts={"left_eye": ball[shapes[0][ball, 0] > 5], "right_eye": ball[shapes[0][ball, 0] < 5]},
    )


@pytest.fixture(scope="module")
def registered(scans):
    import torch

    points = landmarks(HEAD, torch.tensor(HEAD.template_v3)[None])[0].numpy()
    return register(HEAD, scans, bent(points), HEAD.landmark_triangle_l >= 0)


def test_vertices_come_to_their_own_places(registered):
    face = HEAD.region("face") & registered.matched_v
    assert face.sum() > 0.98 * HEAD.region("face").sum()
    truth = bent(HEAD.template_v3) - registered.centre_3
    assert np.linalg.norm(registered.mean_v3 - truth, axis=1)[face].mean() < 0.6
    start = np.linalg.norm(HEAD.template_v3 - truth, axis=1)[face].mean()
    assert start > 2
    skin = HEAD.region("skin")
    assert np.linalg.norm(registered.mean_v3 - truth, axis=1)[skin].mean() < 1.5
    assert registered.distance_v[face].mean() < 0.2


def test_modes_and_expressions_are_carried_over(registered):
    face = HEAD.region("face")
    for found, mode in zip(registered.modes_mv3, (3, 40, 90), strict=True):
        wanted = HEAD.modes_mv3[mode]
        length = np.linalg.norm(wanted[face], axis=1).mean()
        assert np.linalg.norm(found - wanted, axis=1)[face].mean() < 0.15 * length + 0.01
    jaw = HEAD.expressions_ev3[HEAD.expression_names.index("jawOpen")]
    assert registered.table == {"jawOpen": ("jawOpen",)}
    assert np.linalg.norm(registered.expressions["jawOpen"] - jaw, axis=1)[face].mean() < 0.5
    inside = HEAD.region("interior")
    moved = np.linalg.norm(jaw[inside], axis=1)
    assert np.linalg.norm(registered.expressions["jawOpen"] - jaw, axis=1)[inside].mean() < 0.15 * moved.mean() + 0.5


def test_eyeballs_sit_in_the_scans_eyeballs(scans, registered):
    balls = np.unique(HEAD.triangles_f3[HEAD.material_f == 1])
    for name, side in (("left_eye", 1), ("right_eye", -1)):
        own = balls[side * HEAD.template_v3[balls, 0] > 0]
        centre, radius = part_fit.sphere(scans.mean_v3[scans.parts[name]])
        np.testing.assert_allclose(registered.mean_v3[own].mean(0) + registered.centre_3, centre, atol=0.05)
        arm = np.linalg.norm(registered.mean_v3[own] - registered.mean_v3[own].mean(0), axis=1)
        assert abs(arm.mean() - radius) < 0.1


def test_too_few_landmarks_are_refused(scans):
    few = np.zeros(478, bool)
    few[:5] = True
    with pytest.raises(DataError, match="landmarks in common"):
        register(HEAD, scans, np.zeros((478, 3)), few)


def test_expression_names():
    given = dict.fromkeys(("eyeBlink_L", "eyeBlink_R", "browInnerUp_L", "browInnerUp_R", "jawOpen", "cheekRaiser_L"))
    wanted = ("eyeBlinkLeft", "eyeBlinkRight", "browInnerUp", "jawOpen", "tongueOut")
    assert expression_table(wanted, given) == {
        "eyeBlinkLeft": ("eyeBlink_L",),
        "eyeBlinkRight": ("eyeBlink_R",),
        "browInnerUp": ("browInnerUp_L", "browInnerUp_R"),
        "jawOpen": ("jawOpen",),
    }


def test_closest_points_face_the_query():
    corners = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0.0]])
    sheets = Surface(np.concatenate([corners, corners + np.array([0, 0, 1])]), np.array([[0, 1, 2], [3, 5, 4]]))
    point, up = np.array([[2.0, 2.0, 0.9]]), np.array([[0, 0, 1.0]])
    assert sheets.closest(point)[1] == pytest.approx(0.1)
    found, distance, triangle = sheets.closest(point, up)
    assert (distance[0], triangle[0]) == (pytest.approx(0.9), 0)
    np.testing.assert_allclose(sheets.barycentric(found, triangle), [[0.6, 0.2, 0.2]], atol=1e-9)


def test_parts_follow_affine_and_rigid_motions():
    rng = np.random.default_rng(0)
    points, places = rng.normal(size=(40, 3)), rng.normal(size=(7, 3))
    matrix, shift = np.eye(3) + 0.2 * rng.normal(size=(3, 3)), rng.normal(size=3)
    offsets = points @ matrix + shift - points
    np.testing.assert_allclose(part_fit.affine(offsets[None], points, places)[0], places @ matrix + shift - places)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    offsets = points @ turn + shift - points
    np.testing.assert_allclose(part_fit.rigid(offsets[None], points, places)[0], places @ turn + shift - places)
    offsets = 0.1 * (points - points.mean(0)) + shift
    wanted = 0.1 * (places - points.mean(0)) + shift
    np.testing.assert_allclose(part_fit.similar(offsets[None], points, places)[0], wanted)


def write(path, vertices, extra=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    path.write_text("\n".join([*lines, "g face", "f 1 2 3 4", "g left_eye", "f 4 5 6", extra]) + "\n")


def test_a_folder_gives_its_principal_components(tmp_path):
    """Four people along one direction, each turned and moved: one mode of that deviation, the rest are zero."""
    rng = np.random.default_rng(1)
    mean, mode = rng.normal(size=(6, 3)) * 30, np.zeros((6, 3))
    mode[1] = [0, 0, 1.0]
    for i, weight in enumerate((-1.5, -0.5, 0.5, 1.5)):
        angle = 0.02 * i
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        write(tmp_path / "people" / f"{i}.obj", (mean + weight * mode) @ turn + i)
    smile = mean.copy()
    smile[2] += [0, 2.0, 0]
    write(tmp_path / "neutral.obj", mean)
    write(tmp_path / "expressions" / "mouthSmileLeft.obj", smile)
    found = scan_folder.read_folder(tmp_path, 2.0)
    assert (found.skin_f3.tolist(), found.parts["left_eye"].tolist()) == ([[0, 1, 2], [0, 2, 3]], [3, 4, 5])
    spread = np.linalg.norm(found.modes_mv3, axis=(1, 2))
    assert len(spread) == 3
    assert spread[0] == pytest.approx(2 * np.std([-1.5, -0.5, 0.5, 1.5], ddof=1), rel=0.4)
    assert spread[1:].max() < 0.05 * spread[0]
    assert np.linalg.norm(found.expressions["mouthSmileLeft"], axis=1) == pytest.approx([0, 0, 4, 0, 0, 0], abs=1e-4)


def test_faulty_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"0 OBJ files in people/, expected at least 3"):
        scan_folder.read_folder(tmp_path, 1.0)
    points = np.random.default_rng(0).normal(size=(6, 3))
    for i in range(3):
        write(tmp_path / "people" / f"{i}.obj", points)
    write(tmp_path / "people" / "3.obj", points, extra="f 1 2 5")
    with pytest.raises(DataError, match=r"3\.obj: its faces are not the first person's"):
        scan_folder.read_folder(tmp_path, 1.0)
    write(tmp_path / "people" / "3.obj", points[:, :2].repeat(2, 1)[:, :3][:6].repeat(2, 0))
    with pytest.raises(DataError, match="12 vertices, expected the first person's 6"):
        scan_folder.read_folder(tmp_path, 1.0)


def test_scans_check_their_arrays(scans):
    with pytest.raises(DataError, match="not finite"):
        dataclasses.replace(scans, mean_v3=scans.mean_v3 * np.nan)
    with pytest.raises(DataError, match="modes have shape"):
        dataclasses.replace(scans, modes_mv3=scans.modes_mv3[:, 1:])
