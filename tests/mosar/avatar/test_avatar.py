"""The pictures and maps of an avatar."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mosar.avatar import Avatar, encode, full_size, sheet
from mosar.avatar.files import open_avatar
from mosar.avatar.render import render
from mosar.models.camera import transform_image

SIZE, WIDTH = 64, 160


def test_maps_are_encoded_as_documented(avatar: Avatar) -> None:
    arrays = encode.map_arrays(avatar.maps)
    normal = cv2.imdecode(np.frombuffer(encode.png(arrays["normal"]), np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert normal.dtype == np.uint16
    assert (normal[0, 0] == [32768, 32768, 65535]).all()
    assert arrays["specular"].dtype == np.uint8
    assert (arrays["specular"] == 89).all()
    linear = float(avatar.maps.diffuse[0, 0, 0, 0])
    assert arrays["diffuse"][0, 0, 0] == round(255 * (1.055 * linear ** (1 / 2.4) - 0.055))


def test_render_under_uniform_light_shows_the_albedo(avatar: Avatar) -> None:
    picture = render(avatar, avatar.camera, (WIDTH, WIDTH))
    face = picture.face_11hw[0, 0] > 0.99
    assert 1000 < int(face.sum()) < WIDTH * WIDTH
    colour = picture.colour_13hw[0, :, face].median(dim=1).values
    assert (colour > 0.38).all()  # mean albedo 0.4
    assert (colour < 0.47).all()
    assert picture.alpha_11hw.max() == 1.0
    assert picture.alpha_11hw[0, 0, 0, 0] == 0.0


def test_wide_photographs_keep_their_shape(avatar: Avatar) -> None:
    picture = render(avatar, avatar.camera, (90, 200), supersample=1)
    assert picture.colour_13hw.shape == (1, 3, 90, 200)


def test_a_large_picture_is_the_same_in_tiles(avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = render(avatar, avatar.camera, (WIDTH, WIDTH))
    monkeypatch.setattr("mosar.avatar.render._TILE", 48)
    tiled = render(avatar, avatar.camera, (WIDTH, WIDTH))
    torch.testing.assert_close(tiled.alpha_11hw, whole.alpha_11hw)
    torch.testing.assert_close(tiled.colour_13hw, whole.colour_13hw, atol=1e-4, rtol=0)


def test_the_picture_and_the_mask_lie_over_the_photograph(avatar: Avatar) -> None:
    photograph = np.full((WIDTH, WIDTH, 3), 120, np.uint8)
    image, mask = full_size.over_photograph(replace(avatar, photograph_hw3=photograph))
    assert (image[0, 0] == 120).all()
    assert np.abs(image.astype(int) - 120).max() > 20
    assert (photograph == 120).all()
    assert 1000 < int((mask == 255).sum()) < WIDTH * WIDTH
    assert set(np.unique(mask)) == {0, 255}
    assert (full_size.coloured(avatar, avatar.camera, (WIDTH, WIDTH))[..., 3] > 127)[mask == 255].all()


def test_a_small_head_in_a_large_photograph_takes_little_memory(avatar: Avatar) -> None:
    """The empty part of 16 megapixels costs its bytes only: 48 MB for colours, 16 for the mask."""
    camera = transform_image(avatar.camera, torch.tensor([[1.0, 0, 1800], [0, 1, 1800], [0, 0, 1]]))
    large = replace(avatar, camera=camera, width=4000, height=4000, photograph_hw3=np.zeros((4000, 4000, 3), np.uint8))
    full_size.over_photograph(large)
    tracemalloc.start()
    image, _ = full_size.over_photograph(large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert image[1800:1960, 1800:1960].any()
    assert peak < 80e6


def test_sheet_has_every_tile(avatar: Avatar) -> None:
    photograph = np.full((WIDTH, WIDTH, 3), 120, np.uint8)
    lights = dict.fromkeys(("a", "b", "c"), avatar.light_1lc[0])
    drawn = sheet.avatar_sheet(replace(avatar, photograph_hw3=photograph), lights)
    assert drawn.shape == (2 * sheet.TILE, 5 * sheet.TILE, 3)
    assert (drawn[-40, 40] != drawn[40, 40]).any()


def test_maps_of_different_sizes_survive_their_files(avatar: Avatar, tmp_path: Path) -> None:
    """Albedo and normals are larger than the other maps; a finer albedo shows finer detail."""
    large = torch.zeros(1, 3, 8 * SIZE, 8 * SIZE)
    large[..., ::4, :] = 0.6
    normal = torch.zeros_like(large)
    normal[:, 2] = 1
    other = np.full((32, 32, 3), 90, np.uint8)
    maps = replace(avatar.maps, diffuse=large, normal=normal, confidence=torch.ones(1, 1, 8 * SIZE, 8 * SIZE))
    sized = replace(avatar, maps=encode.quantized(maps), eyes_hw3=other)
    sized.save(tmp_path)
    opened = open_avatar(tmp_path)
    for name in ("diffuse", "specular", "normal"):
        assert torch.equal(getattr(opened.maps, name), getattr(sized.maps, name))
    assert np.array_equal(opened.eyes_hw3, other)
    assert opened.tone == sized.tone
    face = render(sized, avatar.camera, (WIDTH, WIDTH)).colour_13hw[..., 60:80, 70:90]
    assert float(face.std()) < 0.1 * float(face.mean())  # stripes finer than a pixel are filtered
