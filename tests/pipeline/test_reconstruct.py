"""``mosar reconstruct`` on real photographs and on unusable input."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import trimesh
from safetensors.torch import save

import mosar
from mosar.avatar.encode import map_arrays
from mosar.bundle import open_bundle
from mosar.config import to_mapping
from mosar.errors import BundleError
from mosar.jobs import cli
from mosar.jobs.commands import finished
from mosar.models.camera import Camera, project
from mosar.models.face_classes import CLASSES
from mosar.models.head.morph import landmarks
from mosar.models.stages.segmentation.network import Segmentation
from mosar.platform.storage import bundle as bundle_files
from mosar.torch_threads import torch_threads

FILES = {
    "avatar.glb", "avatar.json", "avatar.npz", "mesh.obj", "mesh.mtl", "render.png", "mask.png", "sheet.png",
    *(f"maps/{name}.png" for name in ("diffuse", "specular", "ao", "translucency", "normal", "confidence")),
    "maps/eyes.png", "maps/mouth.png",
}  # fmt: skip


def reconstruct(pipeline: Any, photo: Path, out: Path, size: str = "512") -> int:
    return cli.main(["reconstruct", str(photo), "-o", str(out), "--bundle", pipeline.bundle, "--size", size])


@pytest.fixture(scope="module")
def avatar(pipeline: Any, photographs: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("avatar")
    photo = folder / "photo.png"
    photo.write_bytes(photographs["plain"])
    assert reconstruct(pipeline, photo, folder / "out", "auto") == 0
    return folder / "out"


def read(path: Path) -> Any:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_every_file_of_the_contract(avatar: Path) -> None:
    assert {str(p.relative_to(avatar)) for p in avatar.rglob("*") if p.is_file()} == FILES
    assert read(avatar / "maps" / "normal.png").dtype == np.uint16
    assert read(avatar / "render.png").shape == (*read(avatar / "mask.png").shape, 3) == (512, 512, 3)
    assert set(np.unique(read(avatar / "mask.png"))) == {0, 255}


def written(avatar: Path) -> tuple[int, int]:
    """Which file the avatar's record is, and when it was written; reading it changes neither."""
    found = (avatar / "avatar.json").stat()
    return found.st_ino, found.st_mtime_ns


def test_a_finished_avatar_is_kept(avatar: Path, pipeline: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(finished.FILES) == FILES
    before = written(avatar)
    assert reconstruct(pipeline, avatar.parent / "photo.png", avatar, "auto") == 0
    assert f"{avatar}: kept" in capsys.readouterr().out
    assert written(avatar) == before


def test_the_commands_show_it(avatar: Path, pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    relit, animation = tmp_path / "relit.png", tmp_path / "turntable.webm"
    assert cli.main(["relight", str(avatar), "--light", "-60,10", "-o", str(relit)]) == 0
    picture = read(relit)
    np.testing.assert_array_equal(picture[..., [2, 1, 0, 3]], mosar.open(avatar).relight((-60.0, 10.0)).render())
    words = ["--size", "64", "--seconds", "1", "--fps", "4"]
    assert cli.main(["turntable", str(avatar), "-o", str(animation), *words]) == 0
    assert cv2.VideoCapture(str(animation)).read()[1].shape == (64, 64, 3)
    capsys.readouterr()
    for what in (str(avatar), pipeline.bundle):
        assert cli.main(["info", what]) == 0
    said = capsys.readouterr().out
    assert said.count(bundle_files.digest_of(pipeline.bundle)) == 2  # the avatar's bundle, and the bundle itself
    assert "512 x 512 pixels, sha256" in said
    assert "trained on    synthetic captures" in said


def test_the_python_api_opens_and_relights_it(avatar: Path, pipeline: Any, tmp_path: Path) -> None:
    opened = mosar.open(avatar)
    with mosar.load(pipeline.bundle) as reconstructor:
        again = reconstructor(avatar.parent / "photo.png")
        assert again.bundle_digest == opened.bundle_digest == reconstructor.bundle.digest
    assert torch.equal(again.vertices_1v3, opened.vertices_1v3)
    assert torch.equal(again.maps.diffuse, opened.maps.diffuse)
    np.testing.assert_array_equal(again.render(), opened.render())
    relit = opened.relight((60.0, 10.0))
    before, after = opened.render().astype(int), relit.render().astype(int)
    assert np.abs(after - before)[before[..., 3] == 255].mean() > 5
    relit.save(tmp_path)
    assert torch.equal(mosar.open(tmp_path).light_1lc, relit.light_1lc)


def test_a_bundles_own_segmentation_goes_before_the_shipped_one(
    avatar: Path, pipeline: Any, tmp_path: Path, fixed_segmentation: Callable[[torch.Tensor], Segmentation]
) -> None:
    frequency = torch.zeros(len(CLASSES), 64, 64)
    frequency[CLASSES.index("skin"), :32] = 1.0
    frequency[CLASSES.index("hand"), 32:] = 1.0
    network = fixed_segmentation(frequency)
    files, about = bundle_files.read_files(pipeline.bundle)
    files = {**files, "segmentation.safetensors": save(network.state_dict())}
    stages = {**about["stages"], "segmentation": to_mapping(network.config)}
    bundle_files.write_files(str(tmp_path / "bundle"), files, {**about, "stages": stages})
    with mosar.load(str(tmp_path / "bundle")) as reconstructor:
        found = reconstructor(avatar.parent / "photo.png")
    upper, lower = (float(half.mean()) for half in found.maps.confidence.chunk(2, dim=-2))
    usual_upper, usual_lower = (float(half.mean()) for half in mosar.open(avatar).maps.confidence.chunk(2, dim=-2))
    assert upper > 0.5 * usual_upper > 0.05
    assert lower < 0.5 * usual_lower


def test_files_do_not_depend_on_the_number_of_threads(avatar: Path) -> None:
    opened = mosar.open(avatar)
    with torch_threads(2):
        content = opened.files({"avatar.glb"})["avatar.glb"]
    assert content == (avatar / "avatar.glb").read_bytes()


def test_two_threads_give_the_same_avatar(avatar: Path, pipeline: Any) -> None:
    one = mosar.open(avatar)
    with mosar.load(pipeline.bundle, threads=2) as reconstructor:
        two = reconstructor(avatar.parent / "photo.png")
    for name in ("vertices_1v3", "neutral_1v3"):
        assert float((getattr(two, name) - getattr(one, name)).norm(dim=-1).max()) < 0.01
    arrays = map_arrays(two.maps)
    for name, level in map_arrays(one.maps).items():
        step = 257 if level.dtype == np.uint16 else 1
        difference = np.abs(level.astype(int) - arrays[name])
        # A texel at an edge of what the camera sees may be just seen or just hidden when vertices move by a micrometre.
        assert (difference > step).mean() <= (1e-3 if name == "confidence" else 1e-5), name


def test_camera_mesh_and_landmarks_agree(avatar: Path, pipeline: Any) -> None:
    facts = json.loads((avatar / "avatar.json").read_text())
    head = open_bundle(pipeline.bundle).head
    vertices = [line.split()[1:] for line in (avatar / "mesh.obj").read_text().splitlines() if line.startswith("v ")]
    mesh = torch.tensor(np.array(vertices, np.float32))[None, : len(head.template_v3)]  # lashes follow
    camera = facts["camera"]
    of = (camera["intrinsics"], camera["rotation"], camera["translation_mm"])
    points = project(Camera(*(torch.tensor(x)[None].float() for x in of)), landmarks(head, mesh))[0].numpy()
    assert len(facts["landmarks_px"]) == 478
    for index, stored in enumerate(facts["landmarks_px"]):
        assert (stored is None) == (head.landmark_triangle_l[index] < 0)
        if stored is not None:
            assert np.abs(points[index] - stored).max() < 0.1
    assert np.array(facts["light_sh"]).shape == (81, 3)
    assert set(facts["expression"]) == set(head.expression_names)
    assert all(0 <= w <= 1 for w in facts["expression"].values())
    assert facts["head_digest"] == head.digest
    assert facts["photo"] == {"width": 512, "height": 512}
    assert sum(facts["confidence"].values()) == pytest.approx(1.0, abs=0.01)


def test_the_head_is_aligned_with_the_face(avatar: Path, photographs: dict[str, bytes]) -> None:
    """Compare the avatar's landmarks with the detector's, relative to the distance between the outer eye corners."""
    from mosar.datasets.landmarks import Detector
    from mosar.datasets.photographs import read_photograph

    stored = json.loads((avatar / "avatar.json").read_text())["landmarks_px"]
    with Detector() as detector:
        (face,) = detector.detect(read_photograph(photographs["plain"]))
    found = face.landmarks[:, :2]
    known = [i for i, p in enumerate(stored) if p is not None]
    error = np.linalg.norm(found[known] - np.array([stored[i] for i in known]), axis=1)
    assert error.mean() / np.linalg.norm(found[33] - found[263]) < 0.05


def test_the_glb_opens(avatar: Path) -> None:
    skin = trimesh.load(avatar / "avatar.glb").geometry["skin"]
    material = skin.visual.material
    assert material.baseColorTexture is not None
    assert material.normalTexture is not None
    assert material.occlusionTexture is not None
    assert skin.visual.uv.shape == (len(skin.vertices), 2)
    assert skin.vertex_normals.shape == skin.vertices.shape
    assert 0.15 < skin.extents[1] < 0.6  # metres


def test_another_photograph_gives_another_avatar(
    avatar: Path, pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pipeline.storage)  # a bundle may be given by a relative path as well
    image = read(avatar.parent / "photo.png")
    cv2.imwrite(str(tmp_path / "photo.png"), (image[:, ::-1] * np.array([1.0, 0.8, 0.6])).astype(np.uint8))
    bundle = str(Path(pipeline.bundle).relative_to(pipeline.storage))
    photo, out = str(tmp_path / "photo.png"), str(tmp_path / "out")
    assert cli.main(["reconstruct", photo, "-o", out, "--bundle", bundle]) == 0
    for name in ("maps/diffuse.png", "maps/normal.png", "maps/specular.png", "maps/ao.png", "maps/translucency.png"):
        assert not np.array_equal(read(tmp_path / "out" / name), read(avatar / name)), name
    one, other = (json.loads((f / "avatar.json").read_text()) for f in (avatar, tmp_path / "out"))
    assert one["light_sh"] != other["light_sh"]
    assert one["expression"] != other["expression"]


KINDS = ["jpeg", "grey", "rgba", "sixteen", "turned"]


@pytest.fixture(scope="module")
def several(
    pipeline: Any,
    photographs: dict[str, bytes],
    mistakes: dict[str, tuple[bytes, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, int, str]:
    """Folder of the avatars of several photographs with a bad one among them, the exit code, and what was printed."""
    folder = tmp_path_factory.mktemp("several")
    for kind in KINDS:
        (folder / f"{kind}.bin").write_bytes(photographs[kind])  # the file name does not reveal the format
    (folder / "meadow.bin").write_bytes(mistakes["noface"][0])
    # In a process of its own, as people use it: where threads of torch may run already, workers do not fork.
    command = [sys.executable, "-m", "mosar.jobs.cli", "reconstruct", f"{folder}/*.bin", "-o", f"{folder}/out"]
    command += ["--storage", str(pipeline.storage), "--size", "512", "--keep-going", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    return folder / "out", done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_photograph(several: tuple[Path, int, str], kind: str) -> None:
    out = several[0] / kind
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == FILES
    assert read(out / "render.png").shape == (512, 512, 3)
    rotation = np.array(json.loads((out / "avatar.json").read_text())["camera"]["rotation"])
    assert rotation[1, 1] < -0.7  # upright


def test_a_bad_photograph_among_several_is_listed(several: tuple[Path, int, str]) -> None:
    out, code, printed = several
    assert code == 1
    assert sorted(path.name for path in out.iterdir()) == sorted(KINDS)
    assert printed.count("loading the bundle") == 1
    assert f"{len(KINDS)} reconstructed, 0 kept, 1 failed" in printed
    assert "no face" in printed


@pytest.mark.parametrize("kind", ["noface", "twofaces", "text", "empty", "truncated", "dot", "huge"])
def test_bad_photographs_are_refused(
    pipeline: Any,
    mistakes: dict[str, tuple[bytes, str]],
    tmp_path: Path,
    kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(mistakes[kind][0])
    assert reconstruct(pipeline, photo, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert mistakes[kind][1] in error
    assert str(photo) in error
    told = [line for line in error.splitlines() if not line.startswith(("loading ", "reconstructing "))]
    assert len(told) == 1
    assert not (tmp_path / "out").exists()


def test_missing_photograph_or_bundle(pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reconstruct(pipeline, tmp_path / "none.jpg", tmp_path / "out") == 2
    assert "none.jpg" in capsys.readouterr().err
    assert cli.main(["reconstruct", "x.jpg", "-o", "out", "--storage", str(tmp_path), "--bundle", "none"]) == 2


def test_an_altered_bundle_is_refused(pipeline: Any, tmp_path: Path) -> None:
    copy = shutil.copytree(pipeline.bundle, tmp_path / "bundle")
    content = bytearray((copy / "delight.safetensors").read_bytes())
    content[-5] ^= 1
    (copy / "delight.safetensors").write_bytes(content)
    with pytest.raises(BundleError, match=r"delight\.safetensors was altered"):
        open_bundle(str(copy))
    with pytest.raises(BundleError, match="not a bundle"):
        open_bundle(str(tmp_path / "nothing"))


def test_a_turned_photograph_gives_the_same_avatar(pipeline: Any, avatar: Path) -> None:
    image = read(avatar.parent / "photo.png")
    upright = mosar.open(avatar)
    with mosar.load(pipeline.bundle) as reconstructor:
        for degrees in (180, 120):
            matrix = cv2.getRotationMatrix2D((256, 256), degrees, 1.0)
            centres = matrix.copy()  # OpenCV has pixel centres at integers
            centres[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
            photograph = cv2.warpAffine(image, centres, (512, 512), borderValue=(128, 128, 128))[..., ::-1]
            turned = reconstructor(np.ascontiguousarray(photograph))
            assert float((turned.neutral_1v3 - upright.neutral_1v3).norm(dim=-1).mean()) < 1.0
            expected = upright.landmarks_px().numpy() @ matrix[:, :2].T + matrix[:, 2]
            assert np.nanmean(np.linalg.norm(turned.landmarks_px().numpy() - expected, axis=1)) < 2.0


def test_one_of_several_faces_is_chosen(
    pipeline: Any, avatar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = read(avatar.parent / "photo.png")
    pair = np.full((512, 900, 3), 200, np.uint8)
    pair[:, :512] = image
    pair[100:484, 512:896] = cv2.resize(image, (384, 384))
    cv2.imwrite(str(tmp_path / "pair.png"), pair)
    pair_png, out = str(tmp_path / "pair.png"), str(tmp_path / "out")
    command = ["reconstruct", pair_png, "--bundle", pipeline.bundle, "-o", out]
    assert cli.main(command) == 2
    assert "2 faces were found, from left to right" in capsys.readouterr().err
    assert cli.main([*command, "--face", "3"]) == 2
    assert "shows 2 faces" in capsys.readouterr().err
    assert cli.main([*command, "--face", "2"]) == 0
    assert mosar.open(tmp_path / "out").landmarks_px().nanmean(dim=0)[0] > 512


def test_a_grey_photograph_gets_no_invented_colours(pipeline: Any, photographs: dict[str, bytes]) -> None:
    with mosar.load(pipeline.bundle) as reconstructor:
        avatar = reconstructor(photographs["grey"])
    assert any("no colours" in remark for remark in avatar.remarks)
    assert torch.equal(avatar.light_1lc[..., 0], avatar.light_1lc[..., 2])
    red, green, blue = avatar.maps.diffuse[0, :, 20:-20, 20:-20].mean(dim=(1, 2)).tolist()
    assert red > green > blue  # the hue of skin


def test_photographs_of_one_person_share_shape_and_tone(pipeline: Any, photographs: dict[str, bytes]) -> None:
    told: list[tuple[str, int, int]] = []
    with mosar.load(pipeline.bundle, size=512) as reconstructor:
        given = [photographs["plain"], photographs["grey"]]
        plain, grey = reconstructor(given, progress=lambda *step: told.append(step))
    assert torch.equal(plain.neutral_1v3, grey.neutral_1v3)
    assert not torch.equal(plain.maps.diffuse, grey.maps.diffuse)
    assert plain.tone == grey.tone
    assert "from 2 photographs together" in plain.remarks[-1]
    assert [done for _, done, _ in told] == list(range(told[0][2]))
