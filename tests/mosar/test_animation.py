"""Animations as files: count, length and colours of their pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mosar import animation
from mosar.errors import ConfigError
from mosar.turntable_plan import TurntablePlan, View

RATE, COUNT = 15, 30


@pytest.fixture(scope="module")
def pictures() -> list[animation.Picture]:
    """A light square that moves over a gradient."""
    ramp = np.linspace(40, 200, 64).astype(np.uint8)
    shown = []
    for i in range(COUNT):
        picture = np.stack([np.tile(ramp, (64, 1))] * 3, axis=-1)
        picture[20:40, i : i + 20] = (230, 180, 150)
        shown.append(picture)
    return shown


def test_a_gif_has_every_picture_for_the_right_time(pictures: list[animation.Picture], tmp_path: Path) -> None:
    path = tmp_path / "x.gif"
    path.write_bytes(animation.encode(iter(pictures), ".gif", RATE))
    total = 0
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        for i, picture in enumerate(pictures):
            image.seek(i)
            total += image.info["duration"]
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - picture).mean() < 1.0
        assert image.n_frames == COUNT
    assert total == 1000 * COUNT / RATE


def test_a_webm_has_every_picture(
    pictures: list[animation.Picture], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.webm"
    path.write_bytes(animation.encode(iter(pictures), ".webm", RATE))
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FPS) == RATE
    for picture in pictures:
        read, image = video.read()
        assert read
        assert np.abs(image[..., ::-1].astype(int) - picture).mean() < 8.0
    assert not video.read()[0]
    assert capfd.readouterr().err == ""


def test_other_endings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"x\.mp4: expected a file name that ends in \.gif or \.webm"):
        animation.check_ending(Path("x.mp4"))


def test_the_head_turns_once_and_then_the_light() -> None:
    views = TurntablePlan(64, 1.0, 8).views
    assert views == [View(head=90.0 * i) for i in range(4)] + [View(light=90.0 * i) for i in range(4)]
    for wrong in (
        {"size": 62},
        {"size": 65},
        {"size": 2000},
        {"seconds": 0.5},
        {"seconds": float("nan")},
        {"rate": 31},
    ):
        with pytest.raises(ConfigError, match="expected"):
            TurntablePlan(**wrong)
