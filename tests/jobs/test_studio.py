"""A studio's folder is written from samples of the virtual light stage and imported again."""

import json
import shutil

import cv2
import numpy as np
import pytest

from mosar.datasets import schema
from mosar.datasets.landmarks import Detector
from mosar.datasets.skin_mask import skin_mask
from mosar.datasets.studio import layout
from mosar.datasets.studio.example import write_example
from mosar.datasets.studio.importer import Importer
from mosar.datasets.studio.meshes import Motion
from mosar.errors import ConfigError
from mosar.jobs.sources import studio
from mosar.models.head import load_head
from mosar.platform.data import shards
from mosar.platform.data.manifest import Manifest

EXACT = ("mesh", "neutral", *schema.MAPS, "image", "mask", "classes", "landmarks", "light",
         *schema.DETECTION)  # fmt: skip


@pytest.fixture(scope="module")
def head():
    return load_head()


@pytest.fixture(scope="module")
def samples(storage):
    found = Manifest(str(storage / "data" / "virtual-tiny"))
    rows = found.shards()
    return [
        members
        for number, row in enumerate(rows)
        for members in shards.read_samples(found.shard_location(number), found.extents(number, range(row.samples)))
    ]


@pytest.fixture(scope="module")
def example(samples, head, tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio")
    write_example(folder, head, [(f"take{i}", members) for i, members in enumerate(samples)], "png")
    return folder


@pytest.fixture
def one(example, tmp_path):
    """A copy of the example with one capture, and the folder of the capture."""
    shutil.copytree(example, tmp_path / "in")
    (subject, capture), *others = layout.captures(tmp_path / "in")
    for other, _ in others:
        shutil.rmtree(tmp_path / "in" / other)
    return tmp_path / "in", tmp_path / "in" / subject / capture


@pytest.fixture(scope="module")
def detector():
    with Detector() as found:
        yield found


def read(folder, head, detector, map_size=32, image_size=64):
    ((subject, capture),) = layout.captures(folder)
    return Importer(folder, layout.read_studio(folder), head, map_size, image_size).read(subject, capture, detector)


@pytest.mark.parametrize("kind", ["png", "tif", "exr"])
def test_an_example_is_read_back_unchanged(samples, head, tmp_path, kind, detector):
    assert write_example(tmp_path, head, [("take", samples[0])], kind) == 1
    found, report = read(tmp_path, head, detector)
    assert report.faults == []
    members = found["front"]
    for stem in EXACT:
        name = schema.MEMBERS[stem][0]
        assert members[name] == samples[0][name], stem
    for stem in ("camera", "capture"):
        assert schema.decode_member(members, stem) == schema.decode_member(samples[0], stem)


def test_landmarks_and_mask_follow_from_mesh_and_camera(one, samples, head, detector):
    folder, place = one
    change(place / "cameras.json", lambda c: [c["front"].pop(k) for k in ("mask", "classes", "landmarks")])
    found, report = read(folder, head, detector)
    assert report.faults == []
    theirs = (place / "landmarks.npy").read_bytes()
    truth = schema.decode_member({"landmarks.npy": theirs}, "landmarks")
    ours = schema.decode_member(found["front"], "landmarks")
    np.testing.assert_allclose(ours[:, :2], truth[:, :2], atol=0.05)
    seen = truth[:, 2] == 1
    assert (ours[seen, 2] == 1).mean() > 0.9
    mask = schema.decode_member(found["front"], "mask") > 0
    known = cv2.imread(str(place / "mask.png"), cv2.IMREAD_UNCHANGED) > 0
    face = known & (skin_mask(truth, *known.shape) > 0)  # the known mask includes the neck
    assert (mask & face).sum() / face.sum() > 0.8
    assert (mask & known).sum() / mask.sum() > 0.8
    ours, theirs = schema.decode_member(found["front"], "classes"), cv2.imread(str(place / "classes.png"), -1)
    told = ours != schema.UNKNOWN
    assert told.mean() > 0.15
    bare = told & np.isin(theirs, [schema.CLASSES.index(name) for name in ("skin", "lips", "eyes", "brows", "mouth")])
    assert (ours[bare] == theirs[bare]).mean() > 0.9  # elsewhere hair, beard or clothes cover what the mesh shows


def test_another_frame_unit_and_camera_convention_give_the_same_sample(one, head, detector):
    """Centimetres, a rotated world, pixel centres at integers and green down are stated and converted back."""
    folder, place = one
    before, _ = read(folder, head, detector)
    turn, shift = cv2.Rodrigues(np.array([0.3, -0.8, 0.1]))[0], np.array([400.0, 1500, -200])
    for path in (place / "mesh.obj", place.parent / "neutral.obj"):
        lines = path.read_text().splitlines()
        points = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
        moved = (points @ turn.T + shift) / 10
        rest = [line for line in lines if not line.startswith("v ")]
        path.write_text("\n".join([f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in moved] + rest))

    def turned(cameras):
        camera = cameras["front"]
        rotation = np.array(camera["rotation"]) @ turn.T
        camera["translation_mm"] = (np.array(camera["translation_mm"]) - rotation @ shift).tolist()
        camera["rotation"] = rotation.tolist()
        for row in (0, 1):
            camera["intrinsics"][row][2] -= 0.5

    change(place / "cameras.json", turned)
    normal = cv2.imread(str(place / "normal.png"), cv2.IMREAD_UNCHANGED).astype(np.int64)
    normal[..., 1] = (65536 - normal[..., 1]).clip(0, 65535)
    cv2.imwrite(str(place / "normal.png"), normal.astype(np.uint16))
    change(folder / "studio.json", lambda s: s.update(frame="world", unit_mm=10.0, pixel_centre=0.0, normal_y="-v"))
    after, report = read(folder, head, detector)
    assert report.faults == []
    for stem in ("mesh", "neutral"):
        a, b = (schema.decode_member(m["front"], stem) for m in (before, after))
        # the importer aligns the frame with the template's face, which differs slightly from the original
        motion = Motion.fit(b.astype(float), a.astype(float))
        assert motion.degrees < 10
        np.testing.assert_allclose(motion(b), a, atol=0.02)
    seen = [project(m["front"], m["front"]) for m in (before, after)]
    np.testing.assert_allclose(seen[0], seen[1], atol=0.02)
    np.testing.assert_allclose(*(schema.decode_member(m["front"], "normal") for m in (before, after)), atol=2e-4)


def project(mesh_members, camera_members):
    mesh, camera = schema.decode_member(mesh_members, "mesh"), schema.decode_member(camera_members, "camera")
    points = mesh @ np.array(camera["rotation"]).T + camera["translation_mm"]
    flat = points @ np.array(camera["intrinsics"]).T
    return flat[:, :2] / flat[:, 2:]


def change(path, edit):
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def rewrite(path, edit):
    cv2.imwrite(str(path), edit(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


FAULTS = {
    "mesh.obj is missing": lambda p: (p / "mesh.obj").unlink(),
    "vertices, expected the": lambda p: (p / "mesh.obj").write_text("v 0 0 0\n"),
    "not finite": lambda p: sub(p / "mesh.obj", 0, "v nan 0 0"),
    "a face has an edge from vertex 1 to 900": lambda p: append(p / "mesh.obj", "f 1 900 2000"),
    "off the chart": lambda p: sub(p / "mesh.obj", 4916, "vt 0.99 0.01"),
    "as large as the head": lambda p: change(p.parents[1] / "studio.json", lambda s: s.update(unit_mm=25.4)),
    "normal: expected one file": lambda p: (p / "normal.png").unlink(),
    "ao.png is not an image": lambda p: (p / "ao.png").write_bytes(b"x"),
    "ao.png has 32 x 16": lambda p: rewrite(p / "ao.png", lambda v: v[:16]),
    "specular.png has colours": lambda p: shutil.copy(p / "diffuse.png", p / "specular.png"),
    "does not hold tangent-space normals": lambda p: rewrite(p / "normal.png", np.zeros_like),
    "rotation is not a rotation": lambda p: camera(p, "rotation", np.ones((3, 3)).tolist()),
    "behind the camera": lambda p: camera(p, "translation_mm", [0, 0, -900]),
    "lies in the photograph": lambda p: camera(p, "translation_mm", [9000, 0, 900]),
    "shape (2, 2)": lambda p: camera(p, "intrinsics", [[1, 0], [0, 1]]),
    "outside of the capture's folder": lambda p: camera(p, "image", "../../../view.jpg"),
    "mask '../../mask.png' lies outside": lambda p: camera(p, "mask", "../../mask.png"),
    "landmarks '/etc/passwd' lies outside": lambda p: camera(p, "landmarks", "/etc/passwd"),
    "unknown key 'fov'": lambda p: camera(p, "fov", 3),
    "expression 'wink' is not one": lambda p: change(p / "capture.json", lambda c: c["expression"].update(wink=1)),
    "light.npy: shape": lambda p: np.save(p / "light.npy", np.zeros((9, 3), np.float32)),
    "no light.exr or light.npy": lambda p: (p / "light.npy").unlink(),
}


def camera(place, key, value):
    change(place / "cameras.json", lambda c: c["front"].update({key: value}))


def append(path, line):
    path.write_text(f"{path.read_text()}\n{line}\n")


def sub(path, line, text):
    lines = path.read_text().splitlines()
    lines[line] = text if line or text[0] == "v" else f"{lines[0]}\n{text}"
    path.write_text("\n".join(lines))


@pytest.mark.parametrize("message", FAULTS)
def test_a_faulty_capture_is_reported_and_left_out(one, head, message, detector):
    folder, place = one
    FAULTS[message](place)
    found, report = read(folder, head, detector)
    assert found == {}
    assert message in report.faults[0]


def test_a_camera_of_another_photograph_is_noticed(one, samples, head, detector):
    """The detector finds the face at another place than the camera projects it."""
    folder, place = one
    image = cv2.resize(cv2.imread(str(place / "view.jpg")), (256, 256), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(place / "big.png"), np.roll(image, (60, 75), (0, 1)))
    change(place / "cameras.json", lambda c: [c["front"].pop(k) for k in ("mask", "classes", "landmarks")])
    scale = np.diag([4.0, 4, 1])
    change(place / "cameras.json", lambda c: c["front"].update(
        image="big.png", intrinsics=(scale @ c["front"]["intrinsics"]).tolist()))  # fmt: skip
    _, report = read(folder, head, detector, image_size=256)
    told = " ".join(report.faults + report.notes)
    assert "belong together" in told or "off the photograph" in told or "no face was detected" in told


def test_uniform_light_needs_no_file(one, head, detector):
    folder, place = one
    (place / "light.npy").unlink()
    change(place / "capture.json", lambda c: c.update(light="uniform"))
    found, report = read(folder, head, detector)
    assert report.faults == []
    light = schema.decode_member(found["front"], "light")
    np.testing.assert_allclose(light[0] * 0.28209479, 1, rtol=1e-6)
    assert not light[1:].any()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.update(version=2), "version 2"),
        (lambda s: s.pop("colour"), "missing key 'colour'"),
        (lambda s: s["colour"].pop("ao"), "colour is stated for"),
        (lambda s: s.update(normal_y="up"), "normal_y"),
        (lambda s: s.update(licence=""), "licence is empty"),
        (lambda s: s.update(splits={"anna": "exam"}), "splits"),
    ],
)
def test_an_invalid_studio_json_is_refused(one, edit, message):
    folder, _ = one
    change(folder / "studio.json", edit)
    with pytest.raises(ConfigError, match=message):
        layout.read_studio(folder)


def test_tasks_hold_one_split_each(example):
    found = studio.tasks(str(example), 32, 64, 1)
    assert [(t.split, len(t.captures)) for t in found] == [("train", 1), ("train", 1), ("validation", 1)]
    with pytest.raises(ConfigError, match="no folder"):
        studio.tasks(str(example / "nowhere"), 32, 64, 1)


def test_a_uri_is_read_like_a_path(one, tmp_path):
    folder, _ = one
    found = {}
    for place in (str(folder), f"file://{folder}"):
        (task,) = studio.tasks(place, 32, 64, 4)
        assert task.folder == place
        found[place] = list(studio.produce(None, str(tmp_path / str(len(found))), task))
    records = list(found.values())
    assert records[0]
    assert records[0] == records[1]
    assert studio.inputs(str(folder)).keys() == studio.inputs(f"file://{folder}").keys()
    assert studio.settings(str(folder)) == studio.settings(f"file://{folder}")
    with pytest.raises(ConfigError, match="nothing below"):
        studio.tasks(f"file://{folder}/nowhere", 32, 64, 4)
