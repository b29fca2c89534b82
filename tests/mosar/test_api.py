"""The public API: exports and cost of ``import mosar``, every form of light, and avatars opened as they were saved."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import mosar
from mosar.avatar.encode import quantized
from mosar.avatar.lighting import light_sh
from mosar.datasets import lights
from mosar.errors import ConfigError, DataError, PhotographError
from mosar.models.head import Head
from mosar.models.preview import frontal_camera
from mosar.models.reconstruct.estimate import Maps
from mosar.models.shading import irradiance
from mosar.reconstructor import _read

SIZE, WIDTH, HEIGHT = 48, 130, 100


@pytest.fixture(scope="module")
def avatar(head: Head) -> mosar.Avatar:
    generator = torch.Generator().manual_seed(1)

    def noise(*shape: int) -> torch.Tensor:
        return torch.rand(1, *shape, generator=generator)

    normal = torch.nn.functional.normalize(noise(3, SIZE, SIZE) + torch.tensor([0.0, 0.0, 2.0])[:, None, None], dim=1)
    maps = Maps(
        noise(3, SIZE, SIZE),
        noise(1, SIZE, SIZE),
        noise(1, SIZE, SIZE),
        noise(1, SIZE, SIZE),
        normal,
        noise(1, SIZE, SIZE).round(),
    )
    vertices = torch.tensor(head.template_v3)[None] + 0.1 * torch.randn(head.template_v3.shape, generator=generator)
    return mosar.Avatar(
        head=head,
        vertices_1v3=vertices,
        neutral_1v3=vertices - 1.0 / 3.0,
        maps=quantized(maps),
        eyes_hw3=head.eyes_albedo_hw3,
        mouth_hw3=head.mouth_albedo_hw3,
        tone={"albedo": 0.2, "low": 0.15, "high": 0.25},
        camera=frontal_camera(1, WIDTH, torch.device("cpu")),
        light_1lc=torch.from_numpy(lights.light_sh("city"))[None],
        expression=dict.fromkeys(head.expression_names, 1.0 / 3.0),
        width=WIDTH,
        height=HEIGHT,
        bundle_digest="0" * 64,
        timings_s={"total": 1.0},
        photograph_hw3=np.full((HEIGHT, WIDTH, 3), 90, np.uint8),
    )


@pytest.fixture(scope="module")
def folder(avatar: mosar.Avatar, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("saved")
    avatar.save(place)
    return place


def test_exports() -> None:
    assert mosar.__all__ == ["Avatar", "Reconstructor", "__version__", "load", "open"]
    assert [name for name in mosar.__all__ if getattr(mosar, name) is None] == []
    with pytest.raises(AttributeError, match="no attribute 'reconstruct'"):
        mosar.reconstruct  # noqa: B018


def test_importing_it_loads_neither_torch_nor_ray() -> None:
    code = "import mosar, sys; dir(mosar); print([m for m in ('torch', 'ray', 'numpy', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_opened_avatar_is_the_saved_one(avatar: mosar.Avatar, folder: Path, tmp_path: Path) -> None:
    again = mosar.open(folder)
    for name in ("vertices_1v3", "neutral_1v3", "light_1lc"):
        assert torch.equal(getattr(again, name), getattr(avatar, name)), name
    for field in dataclasses.fields(Maps):
        assert torch.equal(getattr(again.maps, field.name), getattr(avatar.maps, field.name)), field.name
    for field in dataclasses.fields(avatar.camera):
        assert torch.equal(getattr(again.camera, field.name), getattr(avatar.camera, field.name)), field.name
    for name in ("expression", "width", "height", "bundle_digest"):
        assert getattr(again, name) == getattr(avatar, name), name
    np.testing.assert_array_equal(again.render(), avatar.render())
    again.save(tmp_path)
    same = {p.relative_to(folder).as_posix() for p in folder.rglob("*.*")} - {"avatar.json", "render.png", "sheet.png"}
    for name in same:  # those three contain the photograph or the timings, which an opened avatar lacks
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_damaged_avatars_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no avatar here"):
        mosar.open(tmp_path)
    facts = json.loads((folder / "avatar.json").read_text())
    for change, message in (({"format": 0}, "format 0, expected 3"), ({"head_digest": "1"}, "another head")):
        (tmp_path / "avatar.json").write_text(json.dumps(facts | change))
        with pytest.raises(DataError, match=message):
            mosar.open(tmp_path)
    (tmp_path / "avatar.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=r"maps/diffuse\.png"):
        mosar.open(tmp_path)


def test_a_light_from_the_left_lights_the_left(avatar: mosar.Avatar) -> None:
    light = torch.from_numpy(light_sh((90.0, 0.0)))[None].double()
    left, right, up = torch.eye(3).double()[0], -torch.eye(3).double()[0], torch.eye(3).double()[1]
    lit = irradiance(light, torch.stack([left, right, up])[None])[0, :, 0]
    assert lit[0] > 3.0 * lit[1]
    assert lit[0] > 1.5 * lit[2]
    shown = avatar.relight((90.0, 0.0)).render().astype(float)
    assert shown.shape == (HEIGHT, WIDTH, 4)
    seen = shown[..., 3] > 200
    columns = np.nonzero(seen.any(axis=0))[0]
    middle = int(columns.mean())
    brightness = np.where(seen, shown[..., :3].mean(axis=-1), np.nan)
    assert np.nanmean(brightness[:, middle:]) > 1.3 * np.nanmean(brightness[:, :middle])  # their left is our right


def test_lights_by_name_file_and_coefficients(avatar: mosar.Avatar, tmp_path: Path) -> None:
    studio = lights.light_sh("studio")
    np.testing.assert_array_equal(avatar.relight("studio").light_1lc[0].numpy(), studio)
    np.testing.assert_array_equal(avatar.relight(studio).light_1lc[0].numpy(), studio)
    path = tmp_path / "studio.hdr"
    assert cv2.imwrite(str(path), np.ascontiguousarray(lights.load_lights()["studio"][..., ::-1]))
    np.testing.assert_allclose(light_sh(path), studio, atol=0.03 * np.abs(studio).max())  # .hdr stores 8 bits
    for wrong in ("moon", tmp_path / "none.exr", np.zeros((9, 3))):
        with pytest.raises(ConfigError, match="light: got"):
            avatar.relight(wrong)
    square = tmp_path / "square.hdr"
    assert cv2.imwrite(str(square), np.ones((8, 8, 3), np.float32))
    with pytest.raises(DataError, match="2 h x h"):
        light_sh(square)


def test_photographs_come_in_three_forms(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    path = tmp_path / "photo.png"
    assert cv2.imwrite(str(path), image[..., ::-1])
    for form in (image, path, str(path), path.read_bytes()):
        np.testing.assert_array_equal(_read(form)[0], image)
    for wrong in (image[..., 0], image.astype(np.float32), tmp_path / "none.png"):
        with pytest.raises(PhotographError):
            _read(wrong)
