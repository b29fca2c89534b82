import hashlib
import io
import zipfile

import numpy as np
import pytest

from mosar.errors import DataError
from mosar.models.head import head_bytes, load_head
from mosar.models.head.head import DEFAULT_PATH, REALY_KEYPOINTS


def test_the_default_head_is_whole_and_small(head):
    assert head.digest == hashlib.sha256(DEFAULT_PATH.read_bytes()).hexdigest()
    assert DEFAULT_PATH.stat().st_size < 6e6
    assert head.material_names == ("skin", "eyes", "mouth")
    assert len(head.expression_names) == 52
    assert {"skin", "lips", "eyes", "ears", "scalp", "brows", "neck", "nose", "mouth", "forehead", "cheek"} <= set(
        head.region_names
    )
    assert all(head.regions_rv.any(1))
    assert set(np.unique(head.part_v)) == set(range(len(head.part_names)))
    assert not head.template_v3.flags.writeable
    assert (head.landmark_triangle_l[list(REALY_KEYPOINTS)] >= 0).all()


def test_the_template_is_symmetric_and_stands_in_the_head_frame(head):
    mirrored = head.template_v3[head.mirror_v] * [-1, 1, 1]
    distance_v = np.linalg.norm(mirrored - head.template_v3, axis=1)
    assert distance_v.max() < 0.6  # the scans' mean is not exactly symmetric
    assert distance_v.mean() < 0.03
    np.testing.assert_array_equal(head.mirror_v[head.mirror_v], np.arange(len(head.mirror_v)))
    nose, chin = (
        (
            head.template_v3[head.triangles_f3[head.landmark_triangle_l[i]]] * head.landmark_barycentric_l3[i, :, None]
        ).sum(0)
        for i in (4, 152)
    )
    assert nose[2] > 30
    assert chin[1] < -80
    eyes = head.template_v3[np.unique(head.triangles_f3[head.material_f == 1])]
    assert np.abs(eyes.mean(0)).max() < 0.5
    assert 50 < 2 * eyes[eyes[:, 0] > 0, 0].mean() < 75


def test_triangles_wind_outwards(head):
    """The signed volumes of the eyeballs are positive, and normals of the nose point forward on average."""
    corners = head.template_v3[head.triangles_f3[head.material_f == 1]].astype(np.float64)
    corners -= np.sign(corners[:, :1, :1]) * [30, 0, 0]
    assert np.linalg.det(corners).sum() > 0
    a, b, c = np.moveaxis(head.template_v3[head.triangles_f3[head.region("nose")[head.triangles_f3].all(1)]], 1, 0)
    assert np.cross(b - a, c - a)[:, 2].sum() > 0


def test_the_same_fields_give_the_same_bytes_and_the_same_head(fields, tmp_path):
    content = head_bytes(fields)
    (tmp_path / "a.npz").write_bytes(content)
    again = load_head(tmp_path / "a.npz")
    assert hashlib.sha256(content).hexdigest() == again.digest
    assert content == head_bytes({name: getattr(again, name) for name in fields})
    for name, value in fields.items():
        np.testing.assert_array_equal(getattr(again, name), value, err_msg=name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.npz.*No such file"):
        load_head(tmp_path / "none.npz")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("no head")
    with pytest.raises(DataError, match="not a head file"):
        load_head(tmp_path / "text.npz")
    (tmp_path / "cut.npz").write_bytes(DEFAULT_PATH.read_bytes()[:10_000])
    with pytest.raises(DataError, match="not a head file"):
        load_head(tmp_path / "cut.npz")


def test_pickles_are_refused(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, name=np.array([{"a": 1}], dtype=object))
    (tmp_path / "pickle.npz").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="not a head file"):
        load_head(tmp_path / "pickle.npz")


def test_a_missing_array_is_named(tmp_path):
    with zipfile.ZipFile(DEFAULT_PATH) as source, zipfile.ZipFile(tmp_path / "less.npz", "w") as target:
        for entry in source.namelist():
            if entry != "mirror_v.npy":
                target.writestr(entry, source.read(entry))
    with pytest.raises(DataError, match="'mirror_v' is missing"):
        load_head(tmp_path / "less.npz")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mirror_v", lambda x: x[:-1], "mirror_v has shape"),
        ("triangles_f3", lambda x: x + 1, "triangles_f3 lies in"),
        ("template_v3", lambda x: np.where(x > 100, np.nan, x), "template_v3 holds a value that is not finite"),
        ("eyes_albedo_hw3", lambda x: x[..., 0], "eyes_albedo_hw3 has shape"),
        ("material_names", lambda x: ("hair", *x[1:]), "expected 'skin' first"),
        ("modes_mv3", lambda x: x * 1000, "moves a vertex by more than"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(fields, name, change, message):
    with pytest.raises(DataError, match=message):
        head_bytes(fields | {name: change(fields[name])})


def test_an_unknown_region_is_refused(head):
    with pytest.raises(ValueError, match="region 'tail'"):
        head.region("tail")
