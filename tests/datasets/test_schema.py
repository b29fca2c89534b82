import io

import numpy as np
import pytest

from mosar.datasets import schema
from mosar.errors import DataError

LOSSLESS = ("mesh", "neutral", "diffuse", "specular", "ao", "translucency", "mask", "landmarks", "light",
            "classes", "detected", "blendshapes", "pose")  # fmt: skip
NOTHING = {"detected": np.zeros((478, 3)), "blendshapes": np.zeros(52), "pose": np.zeros((4, 4))}


def test_members_come_back_as_they_were(stage_sample):
    members = schema.encode(stage_sample)
    for stem in LOSSLESS:
        assert np.array_equal(schema.decode_member(members, stem), stage_sample[stem]), stem
    assert schema.decode_member(members, "capture") == stage_sample["capture"]
    assert list(schema.decode_member(members, "capture")["expression"]) == ["jawOpen", "browInnerUp"]
    image = schema.decode_member(members, "image").astype(int)
    assert np.abs(image - stage_sample["image"]).mean() < 12  # colour is stored at half resolution
    np.testing.assert_allclose(schema.decode_member(members, "normal"), stage_sample["normal"], atol=4e-5)


def test_a_flat_normal_is_exact():
    flat = np.broadcast_to(np.array([0.0, 0, 1], np.float32), (8, 8, 3))
    assert np.array_equal(schema.decode_member(schema.encode({"normal": flat}), "normal"), flat)


def test_the_same_sample_gives_the_same_bytes(stage_sample):
    assert schema.encode(stage_sample) == schema.encode(stage_sample)


def test_complete_samples_are_valid(stage_sample, wild_sample):
    schema.validate(schema.encode(stage_sample))
    schema.validate(schema.encode(wild_sample))


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("light.npy", None, "light.npy is missing"),
        ("diffuse.png", b"", "diffuse.png cannot be read"),
        ("mesh.npy", b"\x93NUMPY", "mesh.npy cannot be read"),
        ("extra.pkl", b"x", "extra.pkl does not belong"),
        ("camera.json", b"{}", "no key|size None"),
        ("mesh.npy", schema.npy_bytes(np.full((100, 3), np.nan, np.float32)), "mesh.npy.*finite"),
        ("mesh.npy", schema.npy_bytes(np.full((100, 3), 1e9, np.float32)), "mesh.npy.*beyond"),
        ("light.npy", schema.npy_bytes(np.zeros((9, 3), np.float32)), "light.npy.*shape"),
        ("landmarks.npy", schema.npy_bytes(np.full((478, 3), 1e4, np.float32)), "landmarks.npy"),
        ("classes.png", schema.encode({"classes": np.full((96, 96), 12, np.uint8)})["classes.png"], "class 12"),
        ("classes.png", schema.encode({"classes": np.zeros((9, 9), np.uint8)})["classes.png"], "classes.png.*shape"),
        ("pose.npy", schema.npy_bytes(np.zeros((4, 4), np.float32)), "detected.npy.*no face"),
        ("pose.npy", schema.npy_bytes(np.ones((4, 4), np.float32)), "pose.npy.*rotation"),
        ("blendshapes.npy", schema.npy_bytes(np.full(52, 1.5, np.float32)), "blendshapes.npy.*0 to 1"),
        ("detected.npy", schema.npy_bytes(np.full((478, 3), 50, np.float32)), "detected.npy.*one place"),
        ("specular.png", schema.encode({"specular": np.zeros((9, 9), np.uint8)})["specular.png"], "specular.png.*size"),
    ],
)
def test_faults_are_named(stage_sample, member, value, message):
    members = schema.encode(stage_sample)
    if value is None:
        del members[member]
    else:
        members[member] = value
    with pytest.raises(DataError, match=message):
        schema.validate(members, "lightstage")


def test_a_capture_may_show_the_detector_nothing_but_a_photograph_may_not(stage_sample, wild_sample):
    schema.validate(schema.encode(stage_sample | NOTHING))
    with pytest.raises(DataError, match="no face was detected"):
        schema.validate(schema.encode(wild_sample | NOTHING))


def test_pickled_arrays_are_refused(stage_sample):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([None], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"mesh\.npy cannot be read"):
        schema.decode_member(schema.encode(stage_sample) | {"mesh.npy": buffer.getvalue()}, "mesh")
