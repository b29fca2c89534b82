"""An avatar as OBJ with MTL."""

import torch

from mosar.avatar.avatar import Avatar
from mosar.avatar.render_mesh import LASHES, OTHER_SPECULAR, render_mesh, render_vertices
from mosar.models.colour import to_srgb
from mosar.models.head import Head, lashes
from mosar.models.head.morph import vertex_normals
from mosar.models.shading import SHARPNESS

_F0 = 0.08  # reflectance of a specular map's 1 at normal incidence


def obj(avatar: Avatar, library: str = "mesh.mtl") -> str:
    """An OBJ file, millimetres, head frame, smooth: vertices in the head file's order, then those of the lashes.

    One group per material; lashes, the last one, have no UV of their own.
    """
    head = avatar.head
    mesh, whole_1n3 = render_mesh(head), render_vertices(head, avatar.vertices_1v3.cpu())
    normal_1n3 = vertex_normals(whole_1n3, torch.tensor(mesh.triangles_f3))
    lines = [f"mtllib {library}"]
    lines += [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in whole_1n3[0].tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in head.uv_w2.tolist()]
    lines += [f"vn {x:.5f} {y:.5f} {z:.5f}" for x, y, z in normal_1n3[0].tolist()]
    for index, name in enumerate(mesh.material_names):
        own = mesh.material_f == index
        lines.append(f"g {name}\nusemtl {name}\ns 1")
        for v, w in zip(mesh.triangles_f3[own] + 1, mesh.uv_triangles_f3[own] + 1, strict=True):
            lines.append("f " + " ".join(f"{a}/{b}/{a}" for a, b in zip(v, w, strict=True)))
    return "\n".join(lines) + "\n"


def mtl(head: Head) -> str:
    """The MTL file of :func:`obj`; textures lie in ``maps/`` beside it."""
    return "\n\n".join(_material(name) for name in render_mesh(head).material_names) + "\n"


def _material(name: str) -> str:
    reflectance = f"{_F0 * OTHER_SPECULAR.get(name, 1.0):.4g}"
    colour = to_srgb(torch.tensor(lashes.ALBEDO, dtype=torch.float64)).tolist() if name == LASHES else [1.0] * 3
    lines = [
        f"newmtl {name}",
        "Ka 0 0 0",
        f"Kd {' '.join(f'{value:.4g}' for value in colour)}",  # display-encoded
        f"Ks {reflectance} {reflectance} {reflectance}",
        f"Ns {4 * SHARPNESS:g}",  # Blinn-Phong's exponent of a lobe as wide as Phong's of the model
        "illum 2",
    ]
    if name != LASHES:
        lines.append(f"map_Kd maps/{'diffuse' if name == 'skin' else name}.png")
    if name == "skin":  # programs read a normal map under either name
        lines += ["map_Ks maps/specular.png", "map_Bump maps/normal.png", "norm maps/normal.png"]
    return "\n".join(lines)
