"""The GLB file, read with third-party programs and as the specification reads it."""

import io
import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree

from mosar.avatar import Avatar
from mosar.avatar.glb import glb
from mosar.avatar.morph_targets import ALIASES, missed_mm
from mosar.avatar.render_mesh import render_mesh, render_vertices
from mosar.errors import ConfigError
from mosar.models.head.expression_model import express
from mosar.models.head.morph import vertex_normals

NODE = Path(__file__).parents[2] / "node"
KINDS = {5126: "<f4", 5125: "<u4", 5123: "<u2"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


@dataclass(frozen=True)
class File:
    """A GLB file that a test reads itself."""

    tree: dict[str, Any]
    binary: bytes

    def accessor(self, number: int) -> np.ndarray:
        accessor = self.tree["accessors"][number]
        width, kind = WIDTHS[accessor["type"]], KINDS[accessor["componentType"]]
        values = np.zeros((accessor["count"], width), kind)
        if "bufferView" in accessor:
            values = self.view(accessor["bufferView"], kind).reshape(-1, width)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            rows = self.view(sparse["indices"]["bufferView"], KINDS[sparse["indices"]["componentType"]])
            values[rows] = self.view(sparse["values"]["bufferView"], kind).reshape(-1, width)
        return values

    def view(self, number: int, kind: str) -> np.ndarray:
        view = self.tree["bufferViews"][number]
        return np.frombuffer(self.binary, kind, view["byteLength"] // np.dtype(kind).itemsize, view["byteOffset"])

    def image(self, texture: int) -> np.ndarray:
        view = self.tree["images"][self.tree["textures"][texture]["source"]]["bufferView"]
        return cv2.imdecode(self.view(view, "u1"), cv2.IMREAD_UNCHANGED)

    def mesh(self, name: str) -> dict[str, Any]:
        return next(m for m in self.tree["meshes"] if m["name"] == name)


def opened(content: bytes) -> File:
    length = int.from_bytes(content[12:16], "little")
    return File(json.loads(content[20 : 20 + length]), content[28 + length :])


@pytest.fixture(scope="module")
def content(smiling: Avatar) -> bytes:
    return glb(smiling)


@pytest.fixture(scope="module")
def file(content: bytes) -> File:
    return opened(content)


def corners(file: File, head: Any, name: str) -> np.ndarray:
    """The vertex of the rendered mesh of each corner of a mesh in the file, by the order in which they are written."""
    mesh = render_mesh(head)
    own = mesh.material_f == mesh.material_names.index(name)
    pairs = np.stack([mesh.triangles_f3[own], mesh.uv_triangles_f3[own]], axis=-1).reshape(-1, 2)
    found = np.unique(pairs, axis=0)[:, 0]
    assert len(found) == len(file.accessor(file.mesh(name)["primitives"][0]["attributes"]["POSITION"]))
    return found


@pytest.mark.parametrize("targets", ["arkit", "talking"])
def test_khronos_validator_finds_nothing(smiling: Avatar, tmp_path: Path, targets: Any) -> None:
    if not shutil.which("node") or not (NODE / "node_modules").is_dir():
        pytest.skip(
            "no Node, or its packages are not installed; apt-get install nodejs npm; npm ci --prefix tests/node"
        )
    (tmp_path / "avatar.glb").write_bytes(glb(smiling, targets))
    command = ["node", str(NODE / "validate.cjs"), str(tmp_path / "avatar.glb")]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    issues = report["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]
    # Remarks: the translucency, which only extras name, and initial weights of meshes beside those of their nodes.
    assert {m["code"] for m in issues["messages"]} <= {"UNUSED_OBJECT", "UNUSED_MESH_WEIGHTS"}
    assert report["info"]["hasMorphTargets"]


def test_assimp_opens_it(content: bytes, tmp_path: Path) -> None:
    if not shutil.which("assimp"):
        pytest.skip("no assimp on this machine; apt-get install assimp-utils")
    (tmp_path / "avatar.glb").write_bytes(content)
    done = subprocess.run(["assimp", "info", str(tmp_path / "avatar.glb")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "Meshes:             4" in done.stdout
    assert "Textures (embed.):  5" in done.stdout


def test_trimesh_opens_it_with_textures_and_seams(avatar: Avatar) -> None:
    head = avatar.head
    scene = trimesh.load(io.BytesIO(glb(avatar)), file_type="glb")
    skin = scene.geometry["skin"]
    assert set(scene.geometry) == {*head.material_names, "lashes"}
    assert len(skin.faces) == int((head.material_f == 0).sum())
    used = np.unique(head.triangles_f3[head.material_f == 0])
    assert skin.extents[1] == pytest.approx(np.ptp(head.template_v3[used][:, 1]) / 1000, rel=1e-4)
    material = skin.visual.material
    size = avatar.maps.diffuse.shape[-1]
    assert material.baseColorTexture.size == material.normalTexture.size == (size, size)
    assert material.occlusionTexture.size == (size, size)
    assert np.allclose(np.linalg.norm(skin.vertex_normals, axis=1), 1, atol=1e-3)
    # UVs are those of the head file: find a vertex by its position and compare.
    corner = head.triangles_f3[0, 0], head.uv_triangles_f3[0, 0]
    at = np.abs(skin.vertices * 1000 - head.template_v3[corner[0]]).sum(axis=1)
    assert np.abs(skin.visual.uv[at < 0.01] - head.uv_w2[corner[1]]).sum(axis=1).min() < 1e-5


def test_at_rest_it_is_the_neutral_mesh_and_with_its_weights_nearly_the_avatar(smiling: Avatar, file: File) -> None:
    head = smiling.head
    names = list(head.expression_names)
    assert missed_mm(smiling)[1] > 0.2  # the targets alone cannot show this mesh
    for name in render_mesh(head).material_names:
        mesh = file.mesh(name)
        primitive, vertex_m = mesh["primitives"][0], corners(file, head, name)
        assert mesh["extras"]["targetNames"] == names
        node = next(n for n in file.tree["nodes"] if n["name"] == name)
        assert mesh["weights"] == node["weights"] == [smiling.expression[n] for n in names]
        rest = file.accessor(primitive["attributes"]["POSITION"]) * 1000
        expected = render_vertices(head, smiling.neutral_1v3)[0, vertex_m].numpy()
        assert np.abs(rest - expected).max() < 0.01
        offsets = np.stack([file.accessor(t["POSITION"]) for t in primitive["targets"]]) * 1000
        shown = rest + np.tensordot(np.array(mesh["weights"], np.float32), offsets, 1)
        wanted = render_vertices(head, smiling.vertices_1v3)[0, vertex_m].numpy()
        limit = missed_mm(smiling)[1] + 0.05
        if name != "lashes":  # they turn with the lids
            assert cKDTree(wanted).query(shown)[0].max() < limit


def test_normals_of_the_targets_are_those_of_the_moved_surface(smiling: Avatar, file: File) -> None:
    head = smiling.head
    primitive, vertex_m = file.mesh("skin")["primitives"][0], corners(file, head, "skin")
    base = file.accessor(primitive["attributes"]["NORMAL"])
    triangles = torch.from_numpy(render_mesh(head).triangles_f3)
    for name, weight in (("jawOpen", 1.0), ("jawOpen", 0.5), ("mouthSmileLeft", 1.0), ("browInnerUp", 0.7)):
        at = head.expression_names.index(name)
        target = primitive["targets"][at]
        shown = base + weight * file.accessor(target["NORMAL"])
        shown /= np.linalg.norm(shown, axis=1, keepdims=True)
        weights = torch.zeros(1, len(head.expression_names))
        weights[0, at] = weight
        whole = render_vertices(head, express(head, smiling.neutral_1v3, weights))
        true = vertex_normals(whole, triangles)[0, vertex_m].numpy()
        moved = np.linalg.norm(file.accessor(target["POSITION"]), axis=1) > 1e-3  # 1 mm
        angle = np.degrees(np.arccos((shown * true).sum(1).clip(-1, 1)))[moved]
        still = np.degrees(np.arccos((base * true).sum(1).clip(-1, 1)))[moved]
        assert angle.mean() < 2.0, name
        assert angle.mean() < 0.4 * still.mean(), name


def test_corners_of_a_seam_agree_to_the_bit(smiling: Avatar, file: File) -> None:
    vertex_m = corners(file, smiling.head, "skin")
    order = np.argsort(vertex_m, kind="stable")
    seam = np.flatnonzero(np.diff(vertex_m[order]) == 0)
    one, other = order[seam], order[seam + 1]
    assert len(one) > 20
    primitive = file.mesh("skin")["primitives"][0]
    accessors = [primitive["attributes"][name] for name in ("POSITION", "NORMAL")]
    accessors += [number for target in primitive["targets"] for number in target.values()]
    for number in set(accessors):
        values = file.accessor(number)
        assert np.array_equal(values[one], values[other])


def test_every_accessor_has_data_and_every_view_its_target(file: File) -> None:
    assert all("bufferView" in a or "sparse" in a for a in file.tree["accessors"])
    used: dict[int, int] = {}
    for mesh in file.tree["meshes"]:
        for primitive in mesh["primitives"]:
            used[file.tree["accessors"][primitive["indices"]]["bufferView"]] = 34963
            for number in primitive["attributes"].values():
                used[file.tree["accessors"][number]["bufferView"]] = 34962
    assert all(file.tree["bufferViews"][view]["target"] == target for view, target in used.items())


@pytest.mark.parametrize("specular", [0.0, 0.35, 1.0])
def test_reflectance_at_normal_incidence(avatar: Avatar, specular: float) -> None:
    """F0 as KHR_materials_specular defines it, with the default index of refraction of 1.5."""
    flat = replace(avatar, maps=replace(avatar.maps, specular=torch.full_like(avatar.maps.specular, specular)))
    file = opened(glb(flat))
    material = next(m for m in file.tree["materials"] if m["name"] == "skin")
    extension = material["extensions"]["KHR_materials_specular"]
    assert "KHR_materials_specular" in file.tree["extensionsUsed"]
    assert "specularTexture" not in extension
    encoded = file.image(extension["specularColorTexture"]["index"]).astype(float) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    f0 = np.minimum(((1.5 - 1) / (1.5 + 1)) ** 2 * extension["specularColorFactor"][0] * linear, 1.0)
    assert f0.mean() == pytest.approx(0.08 * specular, rel=0.02)
    assert extension.get("specularFactor", 1.0) == 1.0
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0.0


def test_translucency_is_in_the_extras(avatar: Avatar) -> None:
    file = opened(glb(avatar))
    material = next(m for m in file.tree["materials"] if m["name"] == "skin")
    assert (file.image(material["extras"]["translucencyTexture"]["index"]) == round(255 * 0.2)).all()


def test_tangents_follow_the_chart(avatar: Avatar) -> None:
    file = opened(glb(avatar))
    primitive = file.mesh("skin")["primitives"][0]
    position, normal, uv, tangent = (
        file.accessor(primitive["attributes"][name]) for name in ("POSITION", "NORMAL", "TEXCOORD_0", "TANGENT")
    )
    assert np.abs((tangent[:, :3] * normal).sum(1)).max() < 1e-5
    assert (tangent[:, 3] == 1).all()
    triangles = file.accessor(primitive["indices"]).reshape(-1, 3)
    edge, step = position[triangles[:, 1:]] - position[triangles[:, :1]], uv[triangles[:, 1:]] - uv[triangles[:, :1]]
    determinant = step[:, 0, 0] * step[:, 1, 1] - step[:, 0, 1] * step[:, 1, 0]
    along_u = (edge[:, 0] * step[:, 1, 1:] - edge[:, 1] * step[:, 0, 1:]) / determinant[:, None]
    down_v = (edge[:, 1] * step[:, 0, :1] - edge[:, 0] * step[:, 1, :1]) / determinant[:, None]
    bitangent = np.cross(normal, tangent[:, :3])
    assert ((along_u * tangent[triangles[:, 0], :3]).sum(1) > 0).mean() > 0.995
    assert ((down_v * bitangent[triangles[:, 0]]).sum(1) < 0).mean() > 0.99  # glTF's v points down the image


def test_aliases_for_talking_heads(smiling: Avatar) -> None:
    names = list(smiling.head.expression_names)
    file = opened(glb(smiling, "talking"))
    mesh = file.mesh("skin")
    assert mesh["extras"]["targetNames"] == [*names, *ALIASES]
    assert mesh["weights"][len(names) :] == [0.0] * len(ALIASES)
    targets = mesh["primitives"][0]["targets"]
    both = file.accessor(targets[mesh["extras"]["targetNames"].index("eyesClosed")]["POSITION"])
    weights = torch.zeros(1, len(names))
    weights[0, [names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]] = 1.0
    own = (express(smiling.head, smiling.neutral_1v3, weights) - smiling.neutral_1v3)[0].norm(dim=-1)
    assert 1000 * np.linalg.norm(both, axis=1).max() == pytest.approx(float(own.max()), abs=0.02)
    assert float(own.max()) > 3.0
    with pytest.raises(ConfigError, match="expected one of arkit, talking"):
        glb(smiling, "other")  # type: ignore[arg-type]
