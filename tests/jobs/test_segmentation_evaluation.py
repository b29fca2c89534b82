"""The evaluation of the segmentation, with networks whose answers are known."""

import hashlib
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from mosar.datasets import crop, schema
from mosar.datasets.landmarks import Detector
from mosar.errors import ConfigError
from mosar.jobs import registry
from mosar.jobs.evaluation.segmentation import glasses
from mosar.jobs.evaluation.segmentation.overlaps import Overlaps
from mosar.models.face_classes import CLASSES
from mosar.platform.data import writer
from mosar.platform.data.shards import Record

NUMBER = {name: i for i, name in enumerate(CLASSES)}


def evaluate(*arguments):
    return registry.run("evaluate", "mosar.jobs.evaluation", "what", "evaluate", ["what=segmentation", *arguments])


FACE = astronaut()[:256, 80:380]


@pytest.fixture(scope="module")
def samples():
    """A photograph with a class map, a picture of nobody, and a sample without truth."""
    classes = np.full(FACE.shape[:2], NUMBER["background"], np.uint8)
    classes[:, 100:] = NUMBER["skin"]
    classes[120:] = NUMBER["glasses"]
    classes[:, 200:] = schema.UNKNOWN
    found = {"mesh": np.zeros((1, 3)), "image": FACE, "classes": classes}
    nobody = {**found, "image": FACE[:48, :48] // 64, "classes": classes[:48, :48]}
    return [found, nobody, {"image": FACE}]


@pytest.fixture
def root(samples, tmp_path, ship_segmentation):
    """A storage root with the captures, and a shipped network that takes everything for skin of some kind."""

    def produce(number):
        sample = samples[number]
        yield Record(f"c{number}", "test", f"s{number}", schema.encode(sample))

    for name, numbers in (("small", (0, 1)), ("wild", (2,))):
        where = str(tmp_path / "data" / name)
        writer.write_dataset(where, numbers, produce, recipe={}, schema_version=schema.VERSION, concurrency=0)
    frequency = torch.zeros(len(CLASSES), 64, 64)
    frequency[NUMBER["facial_hair"]] = 1.0
    ship_segmentation(frequency)
    return tmp_path


def height(location):
    with Image.open(location) as picture:
        return picture.size[1]


def test_the_whole_set_is_measured_and_missed_faces_are_counted(root, samples, capsys):
    assert evaluate("set=small", f"storage={root}") == 0
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]
    assert (metrics["captures"], metrics["not_found"]) == (2, 1)
    with Detector() as detector:
        (face,) = detector.detect(FACE)
    to_photograph = np.linalg.inv(crop.face_crop(face.landmarks[:, :2], 512))
    (left, top), (right, bottom) = (to_photograph[:2] @ (x, x, 1) for x in (0, 512))
    assert right > 100
    width = (100 - max(left, 0), min(right, 200) - 100)
    height_of = (120 - max(top, 0), min(bottom, 256) - 120)
    background, skin = width[0] * height_of[0], width[1] * height_of[0]
    of_glasses = sum(width) * height_of[1]
    assert metrics["iou_skin"] == pytest.approx(skin / (skin + background + of_glasses), rel=0.05)
    assert metrics["iou_hair"] is None
    assert metrics["iou_background"] == metrics["iou_glasses"] == 0
    assert 0.1 < metrics["iou_skin_outline"] < metrics["iou_skin"]  # half of the face is no skin in this truth
    assert metrics["iou_background_outline"] > 0.2
    assert (metrics["captures_with_glasses"], metrics["glasses_right_captures"]) == (1, 0.0)
    assert metrics["glasses_threshold_best"] is None
    assert height(metrics["sheet"]) > 200


def test_portraits_are_compared_with_the_list(root, capsys):
    folder, listed = root / "in", root / "glasses.txt"
    folder.mkdir()
    lines = ["# a comment"]
    pictures = {"a": (FACE, "no"), "b": (FACE[:, ::-1], "yes"), "c": (FACE[10:], None), "d": (0 * FACE[:60, :60], "no")}
    for name, (image, label) in pictures.items():
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        (folder / f"{name}.png").write_bytes(buffer.getvalue())
        lines += [f"{hashlib.sha256(buffer.getvalue()).hexdigest()} {label}"] if label else []
    arguments = ["set=small", f"storage={root}", f"portraits={folder}"]
    assert evaluate(*arguments) == 2
    assert "the list has none of these portraits" in capsys.readouterr().err
    listed.write_text("\n".join(lines))
    assert evaluate(*arguments, f"glasses={listed}") == 0
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]
    assert [metrics[f"portraits{of}"] for of in ("", "_not_found", "_labelled")] == [4, 1, 3]
    assert metrics["glasses_wrong"] == ["b", "d"]  # nobody is found in d
    assert metrics["glasses_right"] == pytest.approx(1 / 3)
    assert metrics["glasses_right_outline"] == pytest.approx(2 / 3)
    assert height(metrics["sheet_portraits"]) > 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run=a", "bundle=b"], "expected one of them"),
        (["names=a.txt"], "names: expected with portraits"),
        (["threshold=1"], "threshold: got 1"),
        (["run=segmentation-none"], "is no finished run"),
        (["run=none"], "expected the name of a finished run"),
        (["set=nothing"], "nothing"),
        (["set=wild"], "has no truth"),
    ],
)
def test_invalid_input_is_reported(root, arguments, message, capsys):
    assert evaluate(f"storage={root}", *({"set=small"} if "set=" not in arguments[0] else ()), *arguments) == 2
    assert message in capsys.readouterr().err


def test_overlaps_are_those_of_all_pixels_together():
    found, truth = np.full((4, 4), NUMBER["background"]), np.full((4, 4), NUMBER["background"])
    truth[:2], found[1:3] = NUMBER["skin"], NUMBER["lips"]
    truth[0] = schema.UNKNOWN
    overlaps = Overlaps()
    overlaps.add(found, truth)
    assert overlaps.metrics()["iou_skin"] == 4 / 8
    overlaps.add(truth[1:], truth[1:])
    metrics = overlaps.metrics("_x")
    assert metrics["iou_skin_x"] == 8 / 12
    assert metrics["iou_background_x"] == 12 / 16
    assert metrics["iou_hair_x"] is None


def test_the_threshold_separates_those_who_wear_glasses():
    share, worn = np.array([0.0, 0.0, 0.002, 0.01, 0.03]), np.array([False, False, False, True, True])
    assert glasses.best_threshold(share, worn) == pytest.approx(0.006)
    mixed = np.array([False, True, False, True, True])  # one is never found
    assert glasses.best_threshold(share, mixed) == pytest.approx(0.006)
    assert glasses.best_threshold(share, worn & False) is None


def test_the_list_of_portraits(tmp_path):
    labels = glasses.read_labels(None)
    assert (len(labels), sum(labels.values())) == (57, 15)
    bad = tmp_path / "bad.txt"
    bad.write_text(f"{'0' * 64} yes\nA000001 yes\n")
    with pytest.raises(ConfigError, match="line 2: got 'A000001 yes'"):
        glasses.read_labels(str(bad))
    with pytest.raises(ConfigError, match="no such file"):
        glasses.read_labels(str(tmp_path / "none.txt"))
