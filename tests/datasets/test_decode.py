import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mosar.datasets import schema
from mosar.datasets.decode import FIELDS, DecodeSpec, decode
from mosar.errors import DataError

OF_CAPTURES = tuple(name for name in FIELDS if name not in schema.ESTIMATE)
"""Fields of a capture without estimates; tests/jobs/test_make_shards.py makes some with them."""


@pytest.mark.parametrize(("map_size", "crop_size"), [(64, 96), (32, 48), (100, 130)])
def test_fields_have_the_shapes_of_the_contract(stage_sample, map_size, crop_size):
    found = decode(schema.encode(stage_sample), DecodeSpec(OF_CAPTURES, map_size, crop_size, augment=True), seed=1)
    s, c = map_size, crop_size
    shapes = {
        "mesh": (100, 3), "neutral": (100, 3), "expression": (2,), "diffuse": (3, s, s), "specular": (1, s, s),
        "ao": (1, s, s), "translucency": (1, s, s), "normal": (3, s, s), "image": (3, c, c), "mask": (1, c, c),
        "intrinsics": (3, 3), "rotation": (3, 3), "translation": (3,), "light": (81, 3), "landmarks": (478, 3),
        "classes": (1, c, c), "detected": (478, 3), "blendshapes": (52,), "pose": (4, 4), "found": (1,),
    }  # fmt: skip
    assert {k: v.shape for k, v in found.items()} == shapes
    small = ("diffuse", "specular", "ao", "translucency", "image", "mask", "classes")
    kinds = {k: np.uint8 if k in small else np.float32 for k in shapes}
    assert {k: v.dtype for k, v in found.items()} == kinds
    np.testing.assert_allclose(np.linalg.norm(found["normal"], axis=0), 1, atol=1e-5)
    assert np.array_equal(found["expression"], np.float32([0.5, 0.1]))


def test_nothing_changes_at_the_stored_size(stage_sample):
    members = schema.encode(stage_sample)
    found = decode(members, DecodeSpec(OF_CAPTURES, 64, 96), seed=0)
    assert np.array_equal(found["diffuse"], stage_sample["diffuse"].transpose(2, 0, 1))
    assert np.array_equal(found["image"], schema.decode_member(members, "image").transpose(2, 0, 1))
    assert np.array_equal(found["mask"][0], stage_sample["mask"])
    for name in ("landmarks", "detected", "pose"):
        assert np.array_equal(found[name], stage_sample[name])
    assert np.array_equal(found["classes"][0], stage_sample["classes"])
    assert found["found"] == 1


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**63 - 1), size=st.integers(32, 200))
def test_camera_and_landmarks_move_together(stage_sample, seed, size):
    """A point that projects onto a landmark in the stored crop does so in every augmented crop."""
    members = schema.encode(stage_sample)
    want = DecodeSpec(("landmarks", "detected", "intrinsics", "rotation", "translation"), 64, size, augment=True)
    found = decode(members, want, seed)
    stored, camera = stage_sample["landmarks"], stage_sample["camera"]
    rays = np.linalg.solve(np.asarray(camera["intrinsics"]), np.c_[stored[:, :2], np.ones(478)].T)
    turn = found["rotation"] @ np.asarray(camera["rotation"]).T
    np.testing.assert_allclose(turn @ camera["translation_mm"], found["translation"], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(turn[2], [0, 0, 1], atol=1e-5)  # about the optical axis
    projected = (found["intrinsics"] @ turn @ rays)[:2].T
    known = stored[:, 2] > 0
    np.testing.assert_allclose(found["landmarks"][known, :2], projected[known], atol=1e-2)
    now, before = found["landmarks"][:, 2], stored[:, 2]
    assert ((now == before) | ((now == 0.5) & (before == 1))).all()  # hidden by an occluder
    assert (found["landmarks"][~known] == 0).all()
    scale = found["intrinsics"][0, 0] / stage_sample["camera"]["intrinsics"][0][0]
    assert abs(found["intrinsics"][0, 1]) < 1e-3
    moved = found["landmarks"][known, :2] + scale * turn[:2, :2].sum(1)  # one stored pixel beside the landmarks
    np.testing.assert_allclose(found["detected"][known, :2], moved, atol=1e-2)
    np.testing.assert_allclose(found["detected"][:, 2], stage_sample["detected"][:, 2] * scale, atol=1e-3)


def test_tilted_faces_are_turned_upright(stage_sample):
    upright = decode(schema.encode(stage_sample), DecodeSpec(("image", "detected", "intrinsics"), 64, 96), seed=0)
    tilted = dict(stage_sample)
    tilted["image"] = np.ascontiguousarray(np.rot90(stage_sample["image"]))
    for name in ("landmarks", "detected"):
        moved = stage_sample[name].copy()
        moved[:, 0], moved[:, 1] = stage_sample[name][:, 1], 96 - stage_sample[name][:, 0]
        tilted[name] = moved
    found = decode(schema.encode(tilted), DecodeSpec(("image", "detected", "intrinsics"), 64, 96), seed=0)
    np.testing.assert_allclose(found["detected"], upright["detected"], atol=1e-3)
    difference = np.abs(found["image"].astype(int) - upright["image"].astype(int))
    assert difference.mean() < 6  # two different JPEGs of noise
    np.testing.assert_allclose(found["intrinsics"], upright["intrinsics"], atol=1e-3)


def test_exposure_changes_image_and_light_alike(stage_sample):
    """A grey picture that its own light explains does so after augmentation."""
    stage_sample["image"] = np.full((96, 96, 3), 120, np.uint8)
    members = schema.encode(stage_sample)
    gains = []
    for seed in range(12):
        found = decode(members, DecodeSpec(("image", "light"), 64, 96, augment=True), seed)
        gain = found["light"][0] / stage_sample["light"][0]
        np.testing.assert_allclose(found["light"], stage_sample["light"] * gain, rtol=1e-4, atol=1e-5)
        value = np.median(found["image"].reshape(3, -1), axis=1) / 255
        expected = gain * ((120 / 255 + 0.055) / 1.055) ** 2.4
        np.testing.assert_allclose(((value + 0.055) / 1.055) ** 2.4, np.minimum(expected, 1), rtol=0.06)
        gains.append(gain)
    assert np.std(np.log(gains)) > 0.08


def test_a_pixel_takes_the_class_that_covers_most_of_it(stage_sample):
    stage_sample["classes"] = np.repeat(np.repeat(np.arange(9).reshape(3, 3), 32, 0), 32, 1).astype(np.uint8)
    stage_sample["classes"][::2, ::5] = 11  # a tenth of all pixels
    found = decode(schema.encode(stage_sample), DecodeSpec(("classes",), 64, 24), seed=0)
    assert np.array_equal(found["classes"][0], np.repeat(np.repeat(np.arange(9).reshape(3, 3), 8, 0), 8, 1))


def test_nothing_detected_stays_zero(stage_sample):
    nothing = {"detected": np.zeros((478, 3)), "blendshapes": np.zeros(52), "pose": np.zeros((4, 4))}
    members = schema.encode(stage_sample | nothing)
    found = decode(members, DecodeSpec(("detected", "found"), 64, 48, augment=True), seed=0)
    assert not found["detected"].any()
    assert found["found"] == 0


def test_the_seed_alone_decides(stage_sample):
    members = schema.encode(stage_sample)
    want = DecodeSpec(("image", "landmarks"), 64, 96, augment=True)
    first, again, other = decode(members, want, 3), decode(members, want, 3), decode(members, want, 4)
    assert np.array_equal(first["image"], again["image"])
    assert not np.array_equal(first["image"], other["image"])


def test_occluders_are_excluded_from_the_mask_and_hide_landmarks(stage_sample):
    stage_sample["mask"][:] = 255
    stage_sample["landmarks"][:, 2] = 1
    members = schema.encode(stage_sample)
    covered = 0
    for seed in range(40):
        found = decode(members, DecodeSpec(("image", "mask", "classes", "landmarks"), 64, 96, augment=True), seed)
        mask, marks = found["mask"][0], found["landmarks"]
        column, row = np.floor(marks[:, :2]).astype(int).T
        inside = (column >= 4) & (column < 92) & (row >= 4) & (row < 92)  # jitter may leave a border without mask
        assert np.array_equal(marks[inside, 2] == 0.5, mask[row[inside], column[inside]] == 0)
        inner = np.s_[6:90, 6:90]
        assert np.array_equal(found["classes"][0][inner] == schema.UNKNOWN, mask[inner] == 0)
        assert np.array_equal(mask, decode(members, DecodeSpec(("mask",), 64, 96, augment=True), seed)["mask"][0])
        covered += bool((marks[:, 2] == 0.5).any())
    assert 4 <= covered <= 22


def test_wild_samples_have_no_pose(wild_sample):
    members = schema.encode(wild_sample)
    found = decode(members, DecodeSpec(("image", "mask", "landmarks", "intrinsics", "blendshapes"), 64, 96), seed=0)
    assert found["blendshapes"].shape == (52,)
    with pytest.raises(DataError, match="rotation"):
        decode(members, DecodeSpec(("rotation",), 64, 96), seed=0)


def test_unknown_fields_are_named():
    with pytest.raises(DataError, match="'depth'"):
        DecodeSpec(("depth",), 64, 96)
