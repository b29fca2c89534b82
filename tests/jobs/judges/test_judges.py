"""The judges tell people apart, find the 68 points, and equal the package's own JavaScript."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from mosar.datasets.landmarks import Detector
from mosar.errors import DataError
from mosar.jobs.evaluation.judges import correspondence, fetch, load
from mosar.jobs.evaluation.judges.landmarks68 import Landmarks68, hull
from mosar.jobs.evaluation.judges.recognition import SAME_PERSON, distance
from mosar.platform import storage

PORTRAITS = Path(os.environ.get("MOSAR_PORTRAITS") or Path(__file__).parents[4] / "shared" / "portraits" / "images")


@pytest.fixture(scope="module")
def judges():
    folder = storage.join(storage.root(), fetch.FOLDER)
    if fetch.missing(folder):
        pytest.skip(f"no judges in {folder}: python jobs/fetch_judges.py fetches them")
    return load.load()


@pytest.fixture(scope="module")
def detector():
    with Detector() as found:
        yield found


@pytest.fixture(scope="module")
def look(judges, detector):
    """Returns the 478 points, the 68, and the descriptor of the only face in an image."""

    def of(image):
        (face,) = detector.detect(image)
        points = judges.landmarks68.points(image, hull(face.landmarks))
        return face.landmarks, points, judges.recognition.describe(image, points)

    return of


def resized(image, share):
    return np.array(Image.fromarray(image).resize([round(share * n) for n in image.shape[1::-1]], Image.LANCZOS))


def pattern(size):
    y, x, c = np.mgrid[:size, :size, :3]
    return ((7 * x + 13 * y + 29 * c + 3 * (x * y % 31)) % 256).astype(np.float32)


def test_networks_equal_the_javascript(judges):
    """Reference: face-api 1.7.15 on TensorFlow.js 4.22.0, rounded to the digits given."""
    found = judges.recognition.describe_squares([pattern(150)])[0]
    expected = [-0.058115, 0.133067, 0.080968, -0.010124, -0.053487, -0.059855]
    np.testing.assert_allclose(found[:6], expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found), 1.267173, atol=1e-5)
    found = 112 * judges.landmarks68.in_squares([pattern(112)])[0][[0, 8, 30, 36, 45, 54]]
    expected = [[38.8431, 62.1522], [76.8056, 41.5922], [63.3005, 58.3834], [56.599, 72.2442], [53.5352, 64.6939]]
    np.testing.assert_allclose(found, [*expected, [63.3973, 45.9405]], atol=1e-3)


def test_one_picture_is_near_itself(look):
    image = data.astronaut()
    _, points, one = look(image)
    small = look(resized(image, 0.5))
    assert distance(one, small[2]) < 0.3
    eyes = np.linalg.norm(points[45] - points[36])
    assert np.linalg.norm(2 * small[1] - points, axis=1)[17:].mean() < 0.03 * eyes
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "JPEG", quality=30)
    assert distance(one, look(np.array(Image.open(packed)))[2]) < 0.3


def test_a_turned_picture_is_near_itself(judges, look):
    image = data.astronaut()
    _, points, one = look(image)
    turn = cv2.getRotationMatrix2D((224, 110), 15, 1)
    turned = cv2.warpAffine(image, turn, image.shape[1::-1])
    moved = (points - 0.5) @ turn[:, :2].T + turn[:, 2] + 0.5
    found = judges.landmarks68.points(turned, hull(moved))
    assert np.linalg.norm(found - moved, axis=1).mean() < 0.02 * np.linalg.norm(points[45] - points[36])
    assert distance(one, judges.recognition.describe(turned, found)) < 0.15


def test_points_depend_little_on_the_box(judges, detector):
    image = data.astronaut()
    (face,) = detector.detect(image)
    box = hull(face.landmarks)
    one = judges.landmarks68.points(image, box)
    other = judges.landmarks68.points(image, box + 0.06 * (box[2] - box[0]) * np.array([1, -1, 1, -1]))
    assert np.linalg.norm(one - other, axis=1)[17:].mean() < 0.02 * np.linalg.norm(one[45] - one[36])


def test_correspondence(look):
    ours, points, _ = look(data.astronaut())
    assert correspondence.nme_percent(points, ours) < 5
    ours[:, 0] += 0.1 * np.linalg.norm(points[45] - points[36])
    assert 8 < correspondence.nme_percent(points, ours) < 13


def test_every_point_corresponds_to_the_nearest_on_average(look):
    """The judge's point is nearer to its own counterpart than to that of any other point (corners of lips touch)."""
    ours, points, _ = look(data.astronaut())
    paired = ours[correspondence.OURS, :2]
    nearest = np.linalg.norm(points[correspondence.SCORED, None] - paired, axis=2).argmin(1)
    assert (nearest != np.arange(51)).sum() <= 4


def test_outline_is_not_scored():
    assert correspondence.SCORED.min() == 17
    assert len(set(correspondence.SCORED)) == len(set(correspondence.OURS)) == 51


def test_nme_of_known_points():
    judged, ours = np.zeros((68, 2)), np.zeros((478, 3))
    judged[45, 0] = 200
    ours[correspondence.OURS, 1] = 10  # each 10 px below, but for the left eye's corner
    expected = (50 * 10 + np.hypot(200, 10)) / 51 / 2
    assert correspondence.nme_percent(judged, ours) == pytest.approx(expected)
    ours[correspondence.OURS[correspondence.SCORED == 45]] = np.nan
    assert correspondence.nme_percent(judged, ours) == pytest.approx(5)


def test_people_are_far_from_each_other(look, judges):
    files = sorted(PORTRAITS.rglob("*9.jpg"))[:4] if PORTRAITS.is_dir() else []
    if len(files) < 4:
        pytest.skip(f"no portraits in {PORTRAITS}; set MOSAR_PORTRAITS")
    images = [np.array(Image.open(path).convert("RGB")) for path in files]
    seen = [look(image) for image in images]
    for i, (ours, points, one) in enumerate(seen):
        assert distance(one, look(resized(images[i], 0.5))[2]) < 0.3
        assert correspondence.nme_percent(points, ours) < 5
        for _, _, other in seen[:i]:
            assert distance(one, other) > SAME_PERSON
    together = judges.recognition.describe_batch(images, [points for _, points, _ in seen])
    np.testing.assert_allclose(together, [one for _, _, one in seen], atol=1e-5)


def test_without_files_one_line_says_so(tmp_path, capsys):
    assert load.load(str(tmp_path)) is None
    assert "fetch them with python jobs/fetch_judges.py" in capsys.readouterr().out
    with pytest.raises(DataError, match="there is no such file"):
        Landmarks68(str(tmp_path))


def test_an_altered_file_is_refused(tmp_path):
    for name in fetch.FACE_API.members:
        storage.write_bytes(storage.join(str(tmp_path), fetch.FOLDER, name), b"[]")
    with pytest.raises(DataError, match="not the file of @vladmandic/face-api"):
        load.load(str(tmp_path))
