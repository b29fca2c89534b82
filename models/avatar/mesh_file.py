"""An avatar as GLB (glTF 2.0 binary) and as OBJ with MTL."""

import numpy as np
import numpy.typing as npt
import torch
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial

from mosar.models.avatar.avatar import Avatar
from mosar.models.avatar.encode import map_arrays
from mosar.models.head import Head
from mosar.models.head.morph import vertex_normals

_METRES = 1e-3  # glTF's unit; its axes (+y up, +z towards the viewer) are the head frame's
_SKIN_ROUGHNESS = 0.35


def glb(head: Head, avatar: Avatar) -> bytes:
    """One mesh a material; the skin with base-colour, normal and occlusion textures. Metres."""
    vertices = avatar.vertices_1v3.cpu()
    normals = vertex_normals(vertices, torch.tensor(head.triangles_f3))[0].numpy()
    arrays = map_arrays(avatar.maps)
    scene = trimesh.Scene()
    for index, name in enumerate(head.material_names):
        if name == "skin":
            material = PBRMaterial(
                name=name,
                baseColorTexture=Image.fromarray(arrays["diffuse"]),
                normalTexture=Image.fromarray((arrays["normal"] // 257).astype(np.uint8)),
                occlusionTexture=Image.fromarray(np.repeat(arrays["ao"][..., None], 3, axis=2)),
                metallicFactor=0.0,
                roughnessFactor=_SKIN_ROUGHNESS,
            )
        else:
            albedo = getattr(head, f"{name}_albedo_hw3")
            material = PBRMaterial(
                name=name, baseColorTexture=Image.fromarray(albedo), metallicFactor=0.0, roughnessFactor=0.2
            )
        corners, triangles = _split_seams(head, index)
        mesh = trimesh.Trimesh(
            vertices=vertices[0].numpy()[corners[:, 0]] * _METRES,
            faces=triangles,
            vertex_normals=normals[corners[:, 0]],
            visual=trimesh.visual.TextureVisuals(uv=head.uv_w2[corners[:, 1]], material=material),
            process=False,
        )
        scene.add_geometry(mesh, geom_name=name, node_name=name)
    return bytes(scene.export(file_type="glb", include_normals=True))


def obj(head: Head, avatar: Avatar, library: str = "mesh.mtl") -> str:
    """Vertices in the head file's order, millimetres, head frame; one group a material."""
    lines = [f"mtllib {library}"]
    lines += [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in avatar.vertices_1v3[0].cpu().tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in head.uv_w2.tolist()]
    for index, name in enumerate(head.material_names):
        own = head.material_f == index
        lines.append(f"g {name}\nusemtl {name}")
        for v, w in zip(head.triangles_f3[own] + 1, head.uv_triangles_f3[own] + 1, strict=True):
            lines.append("f " + " ".join(f"{a}/{b}" for a, b in zip(v, w, strict=True)))
    return "\n".join(lines) + "\n"


def mtl(head: Head) -> str:
    """The materials of :func:`obj`, textures in ``maps/`` beside it."""
    textures = {name: name for name in head.material_names} | {"skin": "diffuse"}
    blocks = [f"newmtl {m}\nKd 1 1 1\nillum 1\nmap_Kd maps/{textures[m]}.png" for m in head.material_names]
    blocks[0] += "\nmap_Ks maps/specular.png\nnorm maps/normal.png"
    return "\n\n".join(blocks) + "\n"


def _split_seams(head: Head, material: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Distinct (vertex, uv) pairs (n, 2) of one material and its triangles (f, 3) in terms of them."""
    own = head.material_f == material
    pairs = np.stack([head.triangles_f3[own], head.uv_triangles_f3[own]], axis=-1).reshape(-1, 2)
    corners, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return corners, inverse.reshape(-1, 3)
