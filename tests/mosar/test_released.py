"""The bundle that the program ships: whoever has the program has an avatar of a photograph."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

import mosar
from mosar.avatar import Avatar
from mosar.bundle import RELEASED, locate
from mosar.models.head import load_head
from mosar.models.morphable import pretrained
from mosar.models.stages.segmentation import released as segmentation


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    with mosar.load(size=512) as reconstructor:
        return reconstructor(astronaut())


def test_everything_that_is_shipped_is_small() -> None:
    folder = Path(locate(RELEASED, None))
    shipped = [*folder.iterdir(), pretrained.DEFAULT_PATH, segmentation.PATH]
    assert sum(path.stat().st_size for path in shipped) <= 40e6


def test_it_says_what_it_was_trained_on() -> None:
    folder = Path(locate(RELEASED, None))
    card = (folder / "MODEL_CARD.md").read_text()
    assert "synthetic captures" in card
    assert "photographs without ground truth" in card
    about = json.loads((folder / "manifest.json").read_text())["about"]
    assert about["runs"]["geometry"]["steps"] >= 5000
    assert "/" not in json.dumps(about["data"])  # places on the machine that trained


def test_the_avatar_looks_like_the_photograph(avatar: Avatar) -> None:
    picture = avatar.render()
    photograph = astronaut()
    face = cv2.erode((picture[..., 3] > 250).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    oval = np.zeros(face.shape, np.uint8)
    points = avatar.landmarks_px().numpy()
    hull = cv2.convexHull(points[~np.isnan(points).any(axis=1)].astype(np.int32))
    cv2.fillConvexPoly(oval, hull, 1)
    rows = np.flatnonzero(oval.any(axis=1))
    oval[: rows[0] + len(rows) // 4] = 0  # the photograph shows a fringe there, which the avatar does not have
    difference = picture[..., :3][face & (oval > 0)].astype(float) - photograph[face & (oval > 0)]
    assert 10 * np.log10(255**2 / np.mean(difference**2)) > 22.0


def test_the_shape_is_that_of_a_person(avatar: Avatar) -> None:
    head = load_head()
    face = head.region("face")
    off = avatar.neutral_1v3[0].numpy()[face] - head.template_v3[face]
    off -= off.mean(axis=0)
    assert 0.5 < float(np.linalg.norm(off, axis=1).mean()) < 8.0  # mm from the average head


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_avatar_of_a_gpu_is_that_of_the_cpu(avatar: Avatar) -> None:
    with mosar.load(size=512, device="cuda") as reconstructor:
        other = reconstructor(astronaut())
    apart = (other.neutral_1v3.cpu() - avatar.neutral_1v3).norm(dim=2)
    assert float(apart.mean()) < 0.05  # mm: rounding, carried through the steps of the shape fit
    seen = avatar.maps.confidence > 0.5
    for name in ("diffuse", "specular", "ao", "translucency"):
        one, two = (getattr(each.maps, name).cpu() for each in (avatar, other))
        assert float((one - two).abs().mean()) < 0.01, name
    assert seen.any()
    assert set(other.files()) == set(avatar.files())
