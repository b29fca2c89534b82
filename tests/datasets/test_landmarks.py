import subprocess
import sys

import numpy as np
import pytest
from skimage import data

from mosar.datasets import landmarks
from mosar.datasets.landmarks import Detector
from mosar.errors import DataError


@pytest.fixture(scope="module")
def detector():
    with Detector() as detector:
        yield detector


def test_the_astronaut_is_found(detector):
    image = data.astronaut()
    faces = detector.detect(image)
    assert len(faces) == 1
    face = faces[0]
    assert face.landmarks.shape == (478, 3)
    assert face.landmarks.dtype == np.float32
    left_eye, right_eye, chin = (face.landmarks[i, :2] for i in (263, 33, 152))
    assert 180 < right_eye[0] < left_eye[0] < 270
    assert chin[1] > left_eye[1]
    assert len(face.blendshapes) == 51
    assert "_neutral" not in face.blendshapes
    assert face.blendshapes["mouthSmileLeft"] > 0.5 > face.blendshapes["eyeBlinkLeft"]
    np.testing.assert_allclose(np.linalg.det(face.pose[:3, :3]), 1, atol=1e-2)


def test_two_faces_are_both_found(detector):
    face = data.astronaut()[0:240, 100:340]
    assert len(detector.detect(np.concatenate([face, face], 1))) == 2


def test_points_move_with_the_image(detector):
    image = data.astronaut()[:256, 96:352]
    padded = np.pad(image, ((16, 0), (32, 0), (0, 0)), mode="edge")
    a, b = (detector.detect(x)[0].landmarks[:, :2] for x in (image, padded))
    assert np.abs(np.median(b - a, 0) - [32, 16]).max() < 2


def test_an_empty_image_has_no_face(detector):
    assert detector.detect(np.full((120, 90, 3), 127, np.uint8)) == []


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8)]
)
def test_other_shapes_and_types_are_refused(detector, image):
    with pytest.raises(ValueError, match=r"expected \(h, w, 3\) uint8"):
        detector.detect(image)


def test_a_closed_detector_says_so():
    with Detector() as closing:
        pass
    closing.close()
    with pytest.raises(ValueError, match="closed"):
        closing.detect(np.zeros((8, 8, 3), np.uint8))


def test_nothing_is_written_to_stderr(capfd):
    with Detector() as detector:
        detector.detect(data.astronaut())
    assert capfd.readouterr().err == ""


def test_an_altered_or_missing_model_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.task"
    monkeypatch.setattr(landmarks, "MODEL_PATH", path)
    with pytest.raises(DataError, match="restore the file"):
        Detector()
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match="sha256"):
        Detector()


def test_a_detector_that_is_freed_while_the_interpreter_ends_says_nothing():
    program = """
import atexit
from mosar.datasets.landmarks import Detector
kept = [Detector()]
atexit.register(kept.clear)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
