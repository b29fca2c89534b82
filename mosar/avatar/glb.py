"""An avatar as GLB (glTF 2.0 binary): the neutral head, its morph targets and its materials.

Legend: n vertices of the rendered mesh, m corners of one material: its distinct pairs of vertex and chart vertex.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mosar import __version__
from mosar.avatar.avatar import Avatar
from mosar.avatar.encode import map_arrays, png, srgb8
from mosar.avatar.gltf_builder import GltfBuilder
from mosar.avatar.morph_targets import MorphTargets, TargetSet, morph_targets
from mosar.avatar.render_mesh import LASHES, RenderMesh, render_mesh, render_vertices
from mosar.models.head import lashes
from mosar.models.head.morph import vertex_normals
from mosar.models.shading import SHARPNESS
from mosar.models.uv import chart_tangents

Floats = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]
_METRES = 1e-3  # glTF's unit in mm; glTF's axes (+y up, +z towards the viewer) are those of the head frame
_SKIN_ROUGHNESS = (2 / (4 * SHARPNESS + 2)) ** 0.25  # of the GGX lobe as wide as the model's
_MOIST_ROUGHNESS, _MOIST_SPECULAR = 0.2, {"eyes": 0.3, "mouth": 0.35}
_F0 = 2.0  # glTF's dielectric reflects 0.04 times its specular colour at normal incidence; ours 0.08 S
_SPECULAR = "KHR_materials_specular"


def glb(avatar: Avatar, targets: TargetSet = "arkit") -> bytes:
    """A GLB file in metres: one mesh per material, all with the person's own morph targets in the same order.

    At weights of zero the file shows the neutral mesh. Its initial weights are the avatar's expression.

    Args:
        targets: ``"arkit"``: the head's expressions; ``"talking"``: also the aliases of talking-head applications.

    Raises:
        ConfigError: there is no such set of targets.
    """
    head, mesh = avatar.head, render_mesh(avatar.head)
    rest_1n3 = render_vertices(head, avatar.neutral_1v3.cpu())
    normal_n3 = vertex_normals(rest_1n3, torch.tensor(mesh.triangles_f3))[0].numpy()
    tangent_w3 = chart_tangents(head, avatar.neutral_1v3.cpu())[0].numpy()
    moved = morph_targets(avatar, targets)
    file = GltfBuilder()
    for index, name in enumerate(mesh.material_names):
        corner_m2, triangle_f3 = _corners(mesh, index)
        vertex_m, uv_m2 = corner_m2[:, 0], head.uv_w2[corner_m2[:, 1]]
        attributes = {
            "POSITION": file.add_vertices(rest_1n3[0].numpy()[vertex_m] * _METRES, bounds=True),
            "NORMAL": file.add_vertices(normal_n3[vertex_m]),
            "TEXCOORD_0": file.add_vertices(np.stack([uv_m2[:, 0], 1.0 - uv_m2[:, 1]], axis=1)),
        }
        if name == "skin":  # the only material with a normal map
            attributes["TANGENT"] = file.add_vertices(_tangents(normal_n3[vertex_m], tangent_w3[corner_m2[:, 1]]))
        primitive = {
            "attributes": attributes,
            "indices": file.add_triangles(triangle_f3),
            "material": file.add("materials", _material(file, avatar, name)),
            "targets": _targets(file, moved, vertex_m),
        }
        weights = list(moved.weights)
        extras = {"targetNames": list(moved.names)}
        shown = file.add("meshes", {"name": name, "primitives": [primitive], "weights": weights, "extras": extras})
        file.add("nodes", {"name": name, "mesh": shown, "weights": weights})
    return file.to_bytes(f"mosar {__version__}", (_SPECULAR,))


def _targets(file: GltfBuilder, moved: MorphTargets, vertex_m: Index) -> list[dict[str, int]]:
    """A mesh's targets. Those that do not move it share one accessor of zeros: some readers want data in every one."""
    zeros = file.add_vertices(np.zeros((len(vertex_m), 3), np.float32), bounds=True)
    targets = []
    for offset_n3, turn_n3 in zip(moved.offset_en3, moved.turn_en3, strict=True):
        offset_m3, turn_m3 = offset_n3[vertex_m] * np.float32(_METRES), turn_n3[vertex_m]
        targets.append(
            {
                "POSITION": file.add_sparse(offset_m3, bounds=True) if offset_m3.any() else zeros,
                "NORMAL": file.add_sparse(turn_m3) if turn_m3.any() else zeros,
            }
        )
    return targets


def _material(file: GltfBuilder, avatar: Avatar, name: str) -> dict[str, Any]:
    if name == LASHES:
        colour = [*lashes.ALBEDO, 1.0]
        base = {"baseColorFactor": colour, "metallicFactor": 0.0, "roughnessFactor": 1.0}
        return {"name": name, "pbrMetallicRoughness": base, "extensions": {_SPECULAR: {"specularFactor": 0.0}}}
    if name != "skin":
        albedo = {"index": file.add_texture(png(getattr(avatar, f"{name}_hw3")), name)}
        base = {"baseColorTexture": albedo, "metallicFactor": 0.0, "roughnessFactor": _MOIST_ROUGHNESS}
        specular = {"specularColorFactor": [_F0 * _MOIST_SPECULAR[name]] * 3}
        return {"name": name, "pbrMetallicRoughness": base, "extensions": {_SPECULAR: specular}}
    arrays = map_arrays(avatar.maps)
    textures = {
        "diffuse": arrays["diffuse"],
        "normal": (arrays["normal"] // 257).astype(np.uint8),  # viewers decode eight bits
        "ao": arrays["ao"],
        "specular": srgb8(avatar.maps.specular),  # the extension's colour is sRGB-encoded
        "translucency": arrays["translucency"],
    }
    index = {key: {"index": file.add_texture(png(array), key)} for key, array in textures.items()}
    return {
        "name": name,
        "pbrMetallicRoughness": {
            "baseColorTexture": index["diffuse"],
            "metallicFactor": 0.0,
            "roughnessFactor": _SKIN_ROUGHNESS,
        },
        "normalTexture": index["normal"],
        "occlusionTexture": index["ao"],
        "extensions": {_SPECULAR: {"specularColorFactor": [_F0] * 3, "specularColorTexture": index["specular"]}},
        "extras": {"translucencyTexture": index["translucency"]},  # linear, in [0, 1]; no extension has this meaning
    }


def _tangents(normal_m3: Floats, along_m3: Floats) -> Floats:
    """Unit tangents along +u, perpendicular to the normals, and 1: the bitangent is normal x tangent (m, 4)."""
    along_m3 = along_m3 - (along_m3 * normal_m3).sum(axis=1, keepdims=True) * normal_m3
    length_m1 = np.linalg.norm(along_m3, axis=1, keepdims=True)
    any_m3 = np.cross(normal_m3, np.eye(3, dtype=np.float32)[np.abs(normal_m3).argmin(axis=1)])
    along_m3 = np.where(length_m1 > 0, along_m3, any_m3)  # where the chart has no direction, any will do
    along_m3 /= np.linalg.norm(along_m3, axis=1, keepdims=True)
    return np.concatenate([along_m3, np.ones_like(length_m1)], axis=1).astype(np.float32)


def _corners(mesh: RenderMesh, material: int) -> tuple[Index, Index]:
    """Distinct (vertex, chart vertex) pairs (m, 2) of a material, and its triangles (f, 3) as indices into them."""
    own = mesh.material_f == material
    pairs = np.stack([mesh.triangles_f3[own], mesh.uv_triangles_f3[own]], axis=-1).reshape(-1, 2)
    corners, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return corners, inverse.reshape(-1, 3)
