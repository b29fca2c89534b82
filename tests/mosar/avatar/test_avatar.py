"""The files of an avatar, read with third-party libraries."""

import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree

from mosar.avatar import Avatar, encode, export, sheet
from mosar.avatar.files import open_avatar
from mosar.avatar.render import render
from mosar.models.head import lashes, load_head, sample_identity
from mosar.models.head.expression_model import express
from mosar.models.head.morph import morph_targets, neutral
from mosar.models.preview import frontal_camera
from mosar.models.reconstruct.estimate import Maps

SIZE, WIDTH = 64, 160


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    head = load_head()
    vertices = torch.tensor(head.template_v3)[None]
    generator = torch.Generator().manual_seed(0)
    diffuse = 0.3 + 0.2 * torch.rand(1, 3, SIZE, SIZE, generator=generator)
    one = torch.ones(1, 1, SIZE, SIZE)
    normal = torch.cat([0.0 * one, 0.0 * one, one], dim=1)
    camera = frontal_camera(1, WIDTH, torch.device("cpu"))
    light = torch.zeros(1, 81, 3)
    light[:, 0] = 3.5449077  # radiance one
    maps = Maps(diffuse, 0.35 * one, one, 0.2 * one, normal, one)
    photograph = np.zeros((WIDTH, WIDTH, 3), np.uint8)
    expression, timings = {"jawOpen": 0.0}, {"total": 1.0}
    return Avatar(
        head=head,
        vertices_1v3=vertices,
        neutral_1v3=vertices,
        maps=maps,
        eyes_hw3=head.eyes_albedo_hw3,
        mouth_hw3=head.mouth_albedo_hw3,
        tone={"albedo": 0.2, "low": 0.15, "high": 0.25},
        camera=camera,
        light_1lc=light,
        expression=expression,
        width=WIDTH,
        height=WIDTH,
        bundle_digest="0" * 64,
        timings_s=timings,
        photograph_hw3=photograph,
    )


def test_glb_opens_with_textures_and_seams(avatar: Avatar) -> None:
    head = load_head()
    scene = trimesh.load(io.BytesIO(export.glb(avatar)), file_type="glb")
    skin = scene.geometry["skin"]
    assert set(scene.geometry) == {*head.material_names, "lashes"}
    assert len(skin.faces) == int((head.material_f == 0).sum())
    assert skin.extents[1] == pytest.approx(
        np.ptp(head.template_v3[np.unique(head.triangles_f3[head.material_f == 0])][:, 1]) / 1000, rel=1e-4
    )
    material = skin.visual.material
    assert (
        material.baseColorTexture.size == material.normalTexture.size == material.occlusionTexture.size == (SIZE, SIZE)
    )
    assert skin.visual.uv.shape == (len(skin.vertices), 2)
    assert np.allclose(np.linalg.norm(skin.vertex_normals, axis=1), 1, atol=1e-3)
    # UVs are those of the head file: find a vertex by its position and compare.
    corner = head.triangles_f3[0, 0], head.uv_triangles_f3[0, 0]
    at = np.abs(skin.vertices * 1000 - head.template_v3[corner[0]]).sum(axis=1)
    assert np.abs(skin.visual.uv[at < 0.01] - head.uv_w2[corner[1]]).sum(axis=1).min() < 1e-5


def test_glb_has_the_persons_own_morph_targets(avatar: Avatar) -> None:
    head = load_head()
    generator = torch.Generator().manual_seed(1)
    person = sample_identity(head, generator)
    rest = neutral(head, person.archetype_a[None], person.mode_m[None])
    weights = torch.zeros(1, len(head.expression_names))
    weights[0, head.expression_names.index("jawOpen")] = 0.6
    mesh = express(head, rest, weights)
    content = export.glb(replace(avatar, vertices_1v3=mesh, neutral_1v3=rest, expression={"jawOpen": 0.6}))
    length = int.from_bytes(content[12:16], "little")
    tree, binary = json.loads(content[20 : 20 + length]), content[28 + length :]

    def read(number: int) -> np.ndarray:
        accessor = tree["accessors"][number]
        values = np.zeros((accessor["count"], 3), np.float32)

        def raw(view: int, kind: str) -> np.ndarray:
            place = tree["bufferViews"][view]
            return np.frombuffer(binary, kind, place["byteLength"] // 4, place["byteOffset"])

        if "bufferView" in accessor:
            return raw(accessor["bufferView"], "<f4").reshape(-1, 3)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            at = raw(sparse["indices"]["bufferView"], "<u4")
            values[at] = raw(sparse["values"]["bufferView"], "<f4").reshape(-1, 3)
        return values

    skin = next(m for m in tree["meshes"] if m["name"] == "skin")
    primitive, jaw = skin["primitives"][0], head.expression_names.index("jawOpen")
    assert all(m["extras"]["targetNames"] == list(head.expression_names) for m in tree["meshes"])
    assert len(primitive["targets"]) == len(skin["weights"]) == len(head.expression_names)
    base, target = read(primitive["attributes"]["POSITION"]), read(primitive["targets"][jaw]["POSITION"])
    # The file's initial weights give the avatar; a target is the person's own offset, not the template's.
    shown = 1000 * (base + skin["weights"][jaw] * target)
    assert cKDTree(shown).query(mesh[0, np.unique(head.triangles_f3[head.material_f == 0])])[0].max() < 1e-2
    own = morph_targets(head, rest)[jaw].norm(dim=-1).max()
    assert 1000 * np.linalg.norm(target, axis=1).max() == pytest.approx(float(own), rel=1e-3)


def test_obj_keeps_the_head_files_order_before_the_lashes(avatar: Avatar) -> None:
    head = load_head()
    bars_g3 = lashes.bar_triangles(head) + len(head.template_v3)
    lines = export.obj(avatar).splitlines()
    vertices = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    faces = [[int(c.split("/")[0]) - 1 for c in line.split()[1:]] for line in lines if line.startswith("f ")]
    assert np.allclose(vertices[: len(head.template_v3)], head.template_v3, atol=1e-4)
    assert np.allclose(vertices[len(head.template_v3) :], lashes.bars(head, avatar.vertices_1v3)[0], atol=1e-4)
    assert sorted(map(tuple, faces)) == sorted(map(tuple, [*head.triangles_f3.tolist(), *bars_g3.tolist()]))
    assert len(bars_g3)
    assert lines.index("g lashes") > max(lines.index(f"g {name}") for name in head.material_names)
    assert all(f"newmtl {name}" in export.mtl(head) for name in (*head.material_names, "lashes"))


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


def test_sheet_has_every_tile(avatar: Avatar) -> None:
    photograph = np.full((WIDTH, WIDTH, 3), 120, np.uint8)
    picture = render(avatar, avatar.camera, (WIDTH, WIDTH))
    lights = dict.fromkeys(("a", "b", "c"), avatar.light_1lc[0])
    drawn = sheet.avatar_sheet(replace(avatar, photograph_hw3=photograph), picture, lights)
    assert drawn.shape == (2 * sheet.TILE, 5 * sheet.TILE, 3)
    blank = sheet.over(picture, photograph)
    assert (blank[0, 0] == 120).all()
    assert np.abs(blank.astype(int) - 120).max() > 20


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
