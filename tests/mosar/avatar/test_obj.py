"""The OBJ file with its materials, read with third-party programs."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from mosar.avatar import Avatar, encode
from mosar.avatar.files import encode_files
from mosar.avatar.obj import mtl, obj
from mosar.models.head import lashes
from mosar.platform.storage import replace_folder

NAMES = ("mesh.obj", "mesh.mtl", *(f"maps/{name}.png" for name in ("diffuse", "specular", "normal", "eyes", "mouth")))


@pytest.fixture(scope="module")
def folder(smiling: Avatar, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("with spaces and ümlauts")
    replace_folder(place, encode_files(smiling, NAMES))
    return place


def test_it_keeps_the_head_files_order_before_the_lashes(avatar: Avatar) -> None:
    head, lines = avatar.head, obj(avatar).splitlines()
    bars_g3 = lashes.bar_triangles(head) + len(head.template_v3)
    vertices = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    faces = [[int(c.split("/")[0]) - 1 for c in line.split()[1:]] for line in lines if line.startswith("f ")]
    assert np.allclose(vertices[: len(head.template_v3)], head.template_v3, atol=1e-4)
    assert np.allclose(vertices[len(head.template_v3) :], lashes.bars(head, avatar.vertices_1v3)[0], atol=1e-4)
    assert sorted(map(tuple, faces)) == sorted(map(tuple, [*head.triangles_f3.tolist(), *bars_g3.tolist()]))
    assert len(bars_g3)
    assert lines.index("g lashes") > max(lines.index(f"g {name}") for name in head.material_names)
    assert all(f"newmtl {name}" in mtl(head) for name in (*head.material_names, "lashes"))


def test_trimesh_opens_it_smooth_with_its_textures(
    smiling: Avatar, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # textures are found from any folder
    scene = trimesh.load(folder / "mesh.obj", split_object=False, group_material=True, process=False)
    textures = {name: g.visual.material for name, g in scene.geometry.items()}
    assert len(textures) == 4
    found = {material.image.size for material in textures.values() if material.image is not None}
    expected = [encode.map_arrays(smiling.maps)["diffuse"], smiling.eyes_hw3, smiling.mouth_hw3]
    assert found == {array.shape[1::-1] for array in expected}
    text = (folder / "mesh.obj").read_text()
    assert text.count("\nvn ") == text.count("\nv ")
    assert "\ns 1\n" in text


def test_pytorch3d_opens_it_as_a_texture_atlas(smiling: Avatar, folder: Path) -> None:
    """Its texels are those of the maps at the triangles' centres, the right way up, for all three materials."""
    from pytorch3d.io import load_obj

    head = smiling.head
    vertices, faces, aux = load_obj(folder / "mesh.obj", create_texture_atlas=True, texture_atlas_size=3)
    count, own_faces = len(head.template_v3), len(head.triangles_f3)  # the lashes follow, without textures
    assert np.allclose(vertices[:count].numpy(), smiling.vertices_1v3[0].numpy(), atol=1e-4)
    order = np.argsort(head.material_f, kind="stable")
    assert (faces.verts_idx[:own_faces].numpy() == head.triangles_f3[order]).all()
    centre = aux.texture_atlas[:own_faces].mean(dim=(1, 2)).numpy()
    uv = head.uv_w2[head.uv_triangles_f3[order]].mean(axis=1)
    maps = [encode.map_arrays(smiling.maps)["diffuse"], smiling.eyes_hw3, smiling.mouth_hw3]
    for index, image in enumerate(maps):
        own = head.material_f[order] == index
        size = image.shape[0]
        rows = np.clip(((1 - uv[own, 1]) * size).astype(int), 0, size - 1)
        columns = np.clip((uv[own, 0] * size).astype(int), 0, size - 1)
        expected = image[rows, columns] / 255.0
        flipped = image[size - 1 - rows, columns] / 255.0
        error, wrong = (np.abs(centre[own] - e).mean() for e in (expected, flipped))
        assert error < 0.05, head.material_names[index]
        assert error < 0.7 * wrong or index > 0  # maps of eyes and mouth look the same both ways up


def test_assimp_opens_it(folder: Path, tmp_path: Path) -> None:
    if not shutil.which("assimp"):
        pytest.skip("no assimp on this machine; apt-get install assimp-utils")
    command = ["assimp", "info", str(folder / "mesh.obj")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "Meshes:             4" in done.stdout
    for name in ("diffuse", "eyes", "mouth", "specular", "normal"):
        assert f"maps/{name}.png" in done.stdout


def test_reflectance_is_the_same_as_in_the_other_files(folder: Path) -> None:
    blocks = (folder / "mesh.mtl").read_text().split("newmtl ")[1:]
    skin = dict(line.split(" ", 1) for line in blocks[0].splitlines()[1:] if " " in line)
    assert skin["illum"] == "2"
    assert torch.tensor([float(x) for x in skin["Ks"].split()]).tolist() == pytest.approx([0.08] * 3)
    assert skin["map_Bump"] == skin["norm"] == "maps/normal.png"
    assert {"Ka", "Kd", "Ns", "map_Kd", "map_Ks"} <= set(skin)
