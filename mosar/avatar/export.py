"""An avatar as GLB (glTF 2.0 binary) and as OBJ with MTL."""

import numpy as np
import numpy.typing as npt
import torch
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial

from mosar.avatar import gltf_morph_targets
from mosar.avatar.avatar import Avatar
from mosar.avatar.encode import map_arrays
from mosar.avatar.render_mesh import LASHES, RenderMesh, render_mesh, render_vertices
from mosar.models.colour import to_srgb
from mosar.models.head import Head, lashes
from mosar.models.head.morph import morph_targets, vertex_normals
from mosar.models.shading import SHARPNESS

_METRES = 1e-3  # glTF's unit in mm; glTF's axes (+y up, +z towards the viewer) are those of the head frame
_SKIN_ROUGHNESS = (2 / (4 * SHARPNESS + 2)) ** 0.25  # of the GGX lobe as wide as the model's
_UNSEEN_MM = 0.01  # smaller offsets of morph targets are set to zero


def glb(avatar: Avatar) -> bytes:
    """A GLB file in metres: one mesh per material; the skin has base-colour, normal and occlusion textures.

    Every mesh has the person's own morph targets, one per expression. The file's initial weights are the avatar's; with
    them the vertices are the avatar's.
    """
    head = avatar.head
    shape, whole = render_mesh(head), render_vertices(head, avatar.vertices_1v3.cpu())
    normals = vertex_normals(whole, torch.from_numpy(shape.triangles_f3))[0].numpy()
    targets_ev3 = _targets(avatar)
    weights = np.array([avatar.expression.get(name, 0.0) for name in head.expression_names], np.float32)
    start_v3 = whole[0].numpy() * _METRES - np.tensordot(weights, targets_ev3, 1)
    scene, offsets = trimesh.Scene(), {}
    for index, name in enumerate(shape.material_names):
        corners, triangles = _split_seams(shape, index)
        mesh = trimesh.Trimesh(
            vertices=start_v3[corners[:, 0]],
            faces=triangles,
            vertex_normals=normals[corners[:, 0]],
            visual=trimesh.visual.TextureVisuals(uv=head.uv_w2[corners[:, 1]], material=_material(avatar, name)),
            process=False,
        )
        scene.add_geometry(mesh, geom_name=name, node_name=name)
        offsets[name] = targets_ev3[:, corners[:, 0]]
    add = gltf_morph_targets.adder(offsets, head.expression_names, weights.tolist())
    return bytes(scene.export(file_type="glb", include_normals=True, buffer_postprocessor=add))


def _targets(avatar: Avatar) -> npt.NDArray[np.float32]:
    """Offsets (e, n, 3) of each expression at weight one on the neutral face, metres; those below 0.01 mm are zero."""
    head, neutral = avatar.head, avatar.neutral_1v3.cpu()
    offsets = (render_vertices(head, neutral + morph_targets(head, neutral)) - render_vertices(head, neutral)).numpy()
    offsets[np.abs(offsets).max(axis=2) < _UNSEEN_MM] = 0.0
    return np.asarray(offsets * _METRES, np.float32)


def _material(avatar: Avatar, name: str) -> PBRMaterial:
    if name == LASHES:
        dark = [*np.round(255 * np.array(lashes.ALBEDO)).astype(int).tolist(), 255]
        return PBRMaterial(name=name, baseColorFactor=dark, metallicFactor=0.0, roughnessFactor=1.0)
    if name != "skin":
        albedo = Image.fromarray(getattr(avatar, f"{name}_hw3"))
        return PBRMaterial(name=name, baseColorTexture=albedo, metallicFactor=0.0, roughnessFactor=0.2)
    arrays = map_arrays(avatar.maps)
    return PBRMaterial(
        name=name,
        baseColorTexture=Image.fromarray(arrays["diffuse"]),
        normalTexture=Image.fromarray((arrays["normal"] // 257).astype(np.uint8)),
        occlusionTexture=Image.fromarray(np.repeat(arrays["ao"][..., None], 3, axis=2)),
        metallicFactor=0.0,
        roughnessFactor=_SKIN_ROUGHNESS,
    )


def obj(avatar: Avatar, library: str = "mesh.mtl") -> str:
    """An OBJ file, millimetres, head frame: vertices in the head file's order, then those of the lashes.

    One group per material; lashes, the last one, have no UV of their own.
    """
    head = avatar.head
    shape, whole = render_mesh(head), render_vertices(head, avatar.vertices_1v3.cpu())
    lines = [f"mtllib {library}"]
    lines += [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in whole[0].tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in head.uv_w2.tolist()]
    for index, name in enumerate(shape.material_names):
        own = shape.material_f == index
        lines.append(f"g {name}\nusemtl {name}")
        for v, w in zip(shape.triangles_f3[own] + 1, shape.uv_triangles_f3[own] + 1, strict=True):
            lines.append("f " + " ".join(f"{a}/{b}" for a, b in zip(v, w, strict=True)))
    return "\n".join(lines) + "\n"


def mtl(head: Head) -> str:
    """The MTL file of :func:`obj`; textures lie in ``maps/`` beside it."""
    textures = {name: name for name in head.material_names} | {"skin": "diffuse"}
    blocks = [f"newmtl {m}\nKd 1 1 1\nillum 1\nmap_Kd maps/{textures[m]}.png" for m in head.material_names]
    blocks[0] += "\nmap_Ks maps/specular.png\nnorm maps/normal.png"
    if LASHES in render_mesh(head).material_names:
        blocks.append(f"newmtl {LASHES}\nKd {' '.join(f'{value:.4f}' for value in _lash_srgb())}\nillum 1")
    return "\n\n".join(blocks) + "\n"


def _lash_srgb() -> list[float]:
    """Colour of the lashes as MTL files state it: display-encoded."""
    return [float(value) for value in to_srgb(torch.tensor(lashes.ALBEDO, dtype=torch.float64))]


def _split_seams(shape: RenderMesh, material: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Distinct (vertex, uv) pairs (n, 2) of one material, and its triangles (f, 3) as indices into them."""
    own = shape.material_f == material
    pairs = np.stack([shape.triangles_f3[own], shape.uv_triangles_f3[own]], axis=-1).reshape(-1, 2)
    corners, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return corners, inverse.reshape(-1, 3)
