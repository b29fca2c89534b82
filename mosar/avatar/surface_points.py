"""The points of an avatar that a picture shows: what they are made of, and their colour under a light.

Looking a point up takes far longer than shading it, and does not depend on the light. Legend: n points.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mosar.avatar.avatar import Avatar
from mosar.avatar.render_mesh import LASHES, OTHER_SPECULAR, render_mesh, render_vertices
from mosar.models.camera import Camera, position
from mosar.models.colour import to_linear
from mosar.models.head import lashes
from mosar.models.head.morph import vertex_normals
from mosar.models.losses import resized
from mosar.models.rasterizer import Covered, gather
from mosar.models.shading import Material, shade
from mosar.models.uv import chart, footprint, sample, surface, to_world

_NORMALS = 2048  # texels a side of normals: in the head frame they take as much memory as all the rest
_SMOOTH = 256  # texels a side: maps up to this size hold nothing that a pixel could alias


@dataclass(frozen=True, eq=False)
class Scene:
    """What all pictures of an avatar have in common.

    Attributes:
        avatar: its light is not used.
        vertices_1v3: mm, head frame, lashes included.
        triangles_f3: of the rendered mesh.
        normals_1v3: of the mesh, head frame.
        texels: diffuse, specular, occlusion, translucency, head-frame normal (1, c, s, s); maps of one size together.
        smooth: maps up to this many texels a side are sampled without a filter.
    """

    avatar: Avatar
    vertices_1v3: Tensor
    triangles_f3: Tensor
    normals_1v3: Tensor
    texels: list[Tensor]
    smooth: int


@dataclass(frozen=True)
class Points:
    """Points of the surface: reflectance, unit normals with and without relief, views, 1 where it is facial skin."""

    material: Material
    normals_n3: Tensor
    mesh_normals_n3: Tensor
    views_n3: Tensor
    face_n1: Tensor


def scene_of(avatar: Avatar, smooth: int = _SMOOTH) -> Scene:
    """Prepare an avatar for pictures."""
    vertices = render_vertices(avatar.head, avatar.vertices_1v3)
    triangles = torch.from_numpy(render_mesh(avatar.head).triangles_f3).to(vertices.device)
    return Scene(avatar, vertices, triangles, vertex_normals(vertices, triangles), _skin_texels(avatar), smooth)


def look_up(scene: Scene, camera: Camera, visible: Covered) -> Points:
    """What the covered pixels of a camera show."""
    avatar, head = scene.avatar, scene.avatar.head
    shape, device = render_mesh(head), scene.vertices_1v3.device
    uv_triangles, material_f = (torch.from_numpy(x).to(device) for x in (shape.uv_triangles_f3, shape.material_f))
    uv_w2 = torch.tensor(head.uv_w2, device=device)
    uv = gather(visible, uv_triangles, uv_w2[None])
    area = None
    if any(maps.shape[-1] > scene.smooth for maps in scene.texels):
        area = footprint(visible, scene.triangles_f3, scene.vertices_1v3, uv_triangles, uv_w2, camera)[None]
    texel = torch.cat(
        [sample(maps, uv[None], area if maps.shape[-1] > scene.smooth else None)[0] for maps in scene.texels], 1
    )
    diffuse, specular, ao, translucency, normal = texel.split([3, 1, 1, 1, 3], dim=1)
    material_n = material_f[visible.triangle_n]
    view = normalize(position(camera) - gather(visible, scene.triangles_f3, scene.vertices_1v3), dim=-1)
    geometric = gather(visible, scene.triangles_f3, scene.normals_1v3)
    for index, name in enumerate(shape.material_names[1:], start=1):
        here = (material_n == index)[:, None]
        diffuse = torch.where(here, _albedo(avatar, name, uv), diffuse)
        specular = torch.where(here, torch.full_like(specular, OTHER_SPECULAR[name]), specular)
        ao = torch.where(here, torch.ones_like(ao), ao)
        translucency = torch.where(here, torch.zeros_like(ao), translucency)
        # Lashes are too thin for a specular lobe: with specular 0, a normal towards the viewer reflects almost nothing.
        normal = torch.where(here, view if name == LASHES else geometric, normal)
    smooth = torch.where((material_n == 0)[:, None], geometric, normal)
    face_v = torch.zeros(scene.vertices_1v3.shape[1], device=device)
    face_v[: len(head.template_v3)] = torch.from_numpy(head.region("skin") & ~head.region("scalp")).to(face_v)
    face = (gather(visible, scene.triangles_f3, face_v[None, :, None]) > 0.5) & (material_n == 0)[:, None]
    material = Material(diffuse, specular, ao, translucency)
    return Points(material, normalize(normal, dim=-1), normalize(smooth, dim=-1), view, face.to(diffuse))


def shaded(points: Points, light_1lc: Tensor) -> Tensor:
    """Colour (linear RGB), one, and 1 where it is facial skin, of each point (n, 5)."""
    colour = shade(points.material, points.normals_n3, points.views_n3, light_1lc, mesh_normals=points.mesh_normals_n3)
    return torch.cat([colour, torch.ones_like(points.face_n1), points.face_n1], dim=1)


def _albedo(avatar: Avatar, name: str, uv_n2: Tensor) -> Tensor:
    """Linear albedo of a material other than skin: (n, 3), or (3,) if it is constant."""
    if name == LASHES:
        return uv_n2.new_tensor(lashes.ALBEDO)
    own = torch.tensor(getattr(avatar, f"{name}_hw3")).to(uv_n2.device).permute(2, 0, 1)[None] / 255.0
    return sample(to_linear(own), uv_n2[None])[0]


def _skin_texels(avatar: Avatar) -> list[Tensor]:
    """Diffuse, specular, occlusion, translucency and head-frame normal (1, 9, s, s), in groups of maps of one size."""
    head, maps = avatar.head, avatar.maps
    normal = maps.normal
    if normal.shape[-1] > _NORMALS:
        normal = resized(normal, normal.new_empty(1, 1, _NORMALS, _NORMALS))
    skin = surface(chart(head, normal.shape[-1]), head, avatar.vertices_1v3)
    groups: list[list[Tensor]] = []
    for values in (maps.diffuse, maps.specular, maps.ao, maps.translucency, to_world(skin, normal)):
        if groups and groups[-1][0].shape[-1] == values.shape[-1]:
            groups[-1].append(values)
        else:
            groups.append([values])
    return [torch.cat(group, dim=1) for group in groups]
