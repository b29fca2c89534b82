"""The pictures of a turntable, compared with the renderer that makes the other pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mosar
from mosar.avatar import Avatar, full_size
from mosar.avatar.surface_points import scene_of
from mosar.avatar.turntable import _camera, pictures
from mosar.errors import ConfigError
from mosar.jobs.commands.finished import FILES
from mosar.platform.storage import replace_folder
from mosar.turntable_plan import View

SIZE = 96


def shown(avatar: Avatar, *views: View) -> list[np.ndarray]:
    return [picture.astype(int) for picture in pictures(avatar, views, SIZE)]


def rendered(avatar: Avatar, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The turned head under its light in the head frame: colours (h, w, 3), and where only the head is (h, w)."""
    camera = _camera(scene_of(avatar), SIZE, degrees)
    picture = full_size.coloured(avatar, camera, (SIZE, SIZE))
    return picture[..., :3].astype(int), picture[..., 3] == 255


def test_head_and_light_turn_to_the_subjects_left(avatar: Avatar) -> None:
    lamp = avatar.relight((0.0, 0.0))
    front, light_left, turned = shown(lamp, View(), View(light=90.0), View(head=60.0, light=60.0))
    for picture, of, degrees in (
        (front, lamp, 0.0),
        (light_left, avatar.relight((90.0, 0.0)), 0.0),
        (turned, lamp, 60.0),  # light and head turn together, so the light in the head frame is the same
    ):
        expected, inside = rendered(of, degrees)
        assert inside.sum() > 1500
        assert np.abs(picture - expected)[inside].mean() < 1.5
        assert (picture[0, 0] == picture[-1, -1]).all()
    columns = np.nonzero((light_left != light_left[0, 0]).any(axis=(0, 2)))[0]
    middle = int(columns.mean())
    assert light_left[:, middle : columns[-1]].mean() > 1.3 * light_left[:, columns[0] : middle].mean()


def test_the_light_stays_when_the_head_turns(avatar: Avatar) -> None:
    """Skin of one colour under a lamp at the camera: the back of the head is as bright as the front."""
    plain = replace(avatar, maps=replace(avatar.maps, diffuse=torch.full_like(avatar.maps.diffuse, 0.3)))
    front, back = shown(plain.relight((0.0, 0.0)), View(), View(head=180.0))
    assert back[30:40, 44:52].mean() > 0.85 * front[30:40, 44:52].mean()
    unlit = shown(plain.relight((0.0, 0.0)), View(light=180.0))[0]
    assert unlit[30:40, 44:52].mean() < 0.6 * front[30:40, 44:52].mean()


def test_the_whole_head_is_in_every_picture(avatar: Avatar) -> None:
    for picture in shown(avatar, *(View(head=degrees) for degrees in range(0, 360, 60))):
        inside = (picture != picture[0, 0]).any(axis=2)
        assert not inside[[0, -1]].any()
        assert not inside[:, [0, -1]].any()
        assert inside.any(axis=1).sum() > 0.75 * SIZE


def test_a_turntable_is_written_whole_or_not_at_all(
    avatar: Avatar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    avatar.relight((60.0, 0.0)).turntable(tmp_path / "new" / "x.gif", size=64, seconds=1.0, rate=4)
    with Image.open(tmp_path / "new" / "x.gif") as image:
        assert (image.n_frames, image.size) == (4, (64, 64))
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        avatar.turntable(tmp_path / "folder.gif")
    monkeypatch.setattr(
        "mosar.platform.storage.filesystem.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space"))
    )
    before = (tmp_path / "new" / "x.gif").read_bytes()
    with pytest.raises(ConfigError, match="No space; give a file in a writable folder on a disk with space"):
        avatar.turntable(tmp_path / "new" / "x.gif", size=64, seconds=1.0, rate=2)
    assert (tmp_path / "new" / "x.gif").read_bytes() == before
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.gif"]


def test_exposure_is_in_stops(avatar: Avatar) -> None:
    once, twice = avatar.relight("studio"), avatar.relight("studio", 1.0)
    assert torch.equal(twice.light_1lc, 2.0 * once.light_1lc)
    with pytest.raises(ConfigError, match="exposure"):
        avatar.relight("studio", float("nan"))
    for wrong in ((0.0, 91.0), (float("nan"), 0.0), (1.0, 2.0, 3.0)):
        with pytest.raises(ConfigError, match="azimuth and elevation in degrees"):
            avatar.relight(wrong)


def test_only_the_avatar_of_the_photograph_keeps_its_origin(avatar: Avatar, tmp_path: Path) -> None:
    made = replace(avatar, made_from={"photograph_sha256": "ab"})
    replace_folder(tmp_path, made.files([name for name in FILES if name.startswith(("avatar.j", "avatar.n", "maps"))]))
    opened = mosar.open(tmp_path)
    assert opened.made_from == {"photograph_sha256": "ab"}
    assert opened.relight("studio").made_from == {}
