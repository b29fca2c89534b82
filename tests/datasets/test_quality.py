import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from mosar.datasets.dedup import DISTANCE, distance, duplicates, perceptual_hash
from mosar.datasets.landmarks import Detector
from mosar.datasets.quality import angles, measure


@pytest.fixture(scope="module")
def portrait():
    return astronaut()[:256, 80:380]


@pytest.fixture(scope="module")
def face(portrait):
    with Detector() as detector:
        (found,) = detector.detect(portrait)
    return found


def flags(image, face, scale=1.0):
    return measure(image, face.landmarks[:, :2] * scale, face.pose).flags


def test_a_good_photograph_has_no_flags(portrait, face):
    found = measure(portrait, face.landmarks[:, :2], face.pose)
    assert found.flags == ()
    assert 100 < found.face_px < 160
    assert abs(found.yaw) < 15
    assert found.occluded < 0.06


def test_each_flag_has_its_reason(portrait, face):
    assert flags(cv2.GaussianBlur(portrait, (0, 0), 3), face) == ("blurred",)
    assert "small" in flags(cv2.resize(portrait, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), face, 0.5)
    assert flags(np.repeat(portrait.mean(-1, keepdims=True), 3, -1).astype(np.uint8), face) == ("grey",)
    covered = portrait.copy()
    low = face.landmarks[:, :2].min(0).astype(int)
    high = face.landmarks[:, :2].max(0).astype(int)
    covered[(2 * low[1] + 3 * high[1]) // 5 : high[1], low[0] : high[0]] = (20, 60, 160)
    assert flags(covered, face) == ("occluded",)


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (50, 0), (-30, 20), (10, -40)])
def test_angles_recover_yaw_and_pitch(yaw, pitch):
    a, b = np.deg2rad([yaw, -pitch])
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    assert angles(turn @ tilt * 3) == pytest.approx((yaw, pitch), abs=1e-6)


def test_versions_of_a_picture_are_duplicates_and_others_are_not(portrait):
    versions = {
        "smaller": cv2.resize(portrait, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        "compressed": cv2.imdecode(cv2.imencode(".jpg", portrait, (cv2.IMWRITE_JPEG_QUALITY, 30))[1], 1),
        "brighter": np.clip(portrait * 1.1, 0, 255).astype(np.uint8),
    }
    original = perceptual_hash(portrait)
    mirrored = perceptual_hash(portrait[:, ::-1])
    assert distance(original, mirrored) > 2 * DISTANCE
    hashes = [original, mirrored, None, *map(perceptual_hash, versions.values()), None]
    assert duplicates(hashes) == {3: 0, 4: 0, 5: 0}


def test_duplicates_are_always_found_below_16_bits():
    """Random hashes with up to 15 flipped bits share at least one of the 16 bands with their original."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (40, 256))
    near = bits.copy()
    for row in near:
        row[rng.choice(256, rng.integers(0, 16), replace=False)] ^= 1
    hashes = [np.packbits(row).tobytes() for row in np.concatenate([bits, near])]
    assert duplicates(hashes) == {40 + i: i for i in range(40)}
