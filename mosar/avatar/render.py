"""Render an avatar under any light and camera.

Legend: n covered pixels, h w rows and columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from mosar.avatar.avatar import Avatar
from mosar.avatar.render_mesh import LASHES, OTHER_SPECULAR, render_mesh, render_vertices
from mosar.models.camera import Camera, position, project, to_camera, transform_image
from mosar.models.colour import to_linear
from mosar.models.head import lashes
from mosar.models.head.morph import vertex_normals
from mosar.models.losses import resized
from mosar.models.rasterizer import Covered, covered, gather, rasterize, scatter
from mosar.models.shading import Material, shade
from mosar.models.uv import chart, footprint, sample, surface, to_world

_TILE = 1024  # pixels a side, before supersampling
_CHUNK = 1 << 17  # samples shaded at a time
_NORMALS = 2048  # texels a side of normals: in the head frame they take as much memory as all the rest
_SMOOTH = 256  # texels a side: maps up to this size hold nothing that a pixel could alias


@dataclass(frozen=True)
class Picture:
    """A rendered avatar.

    Attributes:
        colour_13hw: linear RGB, premultiplied by ``alpha_11hw``, not clamped.
        alpha_11hw: share of each pixel that the head covers.
        face_11hw: share that visible facial skin (no scalp, eyes or mouth interior) covers.
    """

    colour_13hw: Tensor
    alpha_11hw: Tensor
    face_11hw: Tensor


def render(avatar: Avatar, camera: Camera, size: tuple[int, int], supersample: int = 2) -> Picture:
    """Render under the avatar's light at ``size`` = (height, width), with ``supersample`` squared samples per pixel."""
    picture = avatar.light_1lc.new_zeros(1, 5, *size)
    for place, part in tiles(avatar, camera, size, supersample):
        picture[(..., *place)] = torch.cat([part.colour_13hw, part.alpha_11hw, part.face_11hw], dim=1)
    return Picture(picture[:, :3], picture[:, 3:4], picture[:, 4:])


@torch.no_grad()
def tiles(
    avatar: Avatar, camera: Camera, size: tuple[int, int], supersample: int = 2
) -> Iterator[tuple[tuple[slice, slice], Picture]]:
    """The parts of :func:`render` that the head may cover, each with its rows and columns.

    They bound the memory for large photographs.
    """
    whole = render_vertices(avatar.head, avatar.vertices_1v3)
    triangles = torch.from_numpy(render_mesh(avatar.head).triangles_f3).to(whole.device)
    texels = _skin_texels(avatar)
    top, bottom, left, right = _box(camera, whole, size)
    for row in range(top, bottom, _TILE):
        for column in range(left, right, _TILE):
            height, width = min(_TILE, bottom - row), min(_TILE, right - column)
            scale = camera.intrinsics_b33.new_tensor(
                [[supersample, 0, -column * supersample], [0, supersample, -row * supersample], [0, 0, 1]]
            )
            moved = transform_image(camera, scale[None])
            samples = height * supersample, width * supersample
            visible = covered(rasterize(whole, triangles, moved, samples), len(triangles))
            parts = [
                _shade(avatar, whole, moved, texels, _slice(visible, start))
                for start in range(0, len(visible.image_n), _CHUNK)
            ]
            values = torch.cat(parts) if parts else whole.new_zeros(0, 5)
            part = avg_pool2d(scatter(visible, values, (1, *samples)), supersample)
            place = slice(row, row + height), slice(column, column + width)
            yield place, Picture(part[:, :3], part[:, 3:4], part[:, 4:])


def _box(camera: Camera, points_1n3: Tensor, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the pixels that the points' box touches; all if points are behind the camera."""
    height, width = size
    if float(to_camera(camera, points_1n3)[..., 2].min()) <= 1.0:
        return 0, height, 0, width
    pixels = project(camera, points_1n3)[0]
    (left, top), (right, bottom) = pixels.amin(dim=0).floor().tolist(), pixels.amax(dim=0).ceil().tolist()
    low, high = max(int(top), 0), min(int(bottom), height)
    return low, max(high, low), max(int(left), 0), min(int(right), width)


def _shade(avatar: Avatar, whole_1v3: Tensor, camera: Camera, texels: list[Tensor], visible: Covered) -> Tensor:
    """Colour, one, and 1 where it is facial skin, of each covered pixel (n, 5)."""
    head, light_1lc = avatar.head, avatar.light_1lc
    shape, device = render_mesh(head), light_1lc.device
    arrays = (shape.triangles_f3, shape.uv_triangles_f3, shape.material_f)
    triangles, uv_triangles, material_f = (torch.from_numpy(array).to(device) for array in arrays)
    uv_w2 = torch.tensor(head.uv_w2, device=device)
    uv = gather(visible, uv_triangles, uv_w2[None])
    area = footprint(visible, triangles, whole_1v3, uv_triangles, uv_w2, camera)
    texel = torch.cat(
        [sample(maps, uv[None], area[None] if maps.shape[-1] > _SMOOTH else None)[0] for maps in texels], 1
    )
    diffuse, specular, ao, translucency, normal = texel.split([3, 1, 1, 1, 3], dim=1)
    material_n = material_f[visible.triangle_n]
    view = normalize(position(camera) - gather(visible, triangles, whole_1v3), dim=-1)
    geometric = gather(visible, triangles, vertex_normals(whole_1v3, triangles))
    for index, name in enumerate(shape.material_names[1:], start=1):
        here = (material_n == index)[:, None]
        diffuse = torch.where(here, _albedo(avatar, name, uv), diffuse)
        specular = torch.where(here, torch.full_like(specular, OTHER_SPECULAR[name]), specular)
        ao = torch.where(here, torch.ones_like(ao), ao)
        translucency = torch.where(here, torch.zeros_like(ao), translucency)
        # Lashes are too thin for a specular lobe: with specular 0, a normal towards the viewer reflects almost nothing.
        normal = torch.where(here, view if name == LASHES else geometric, normal)
    smooth = torch.where((material_n == 0)[:, None], geometric, normal)
    material = Material(diffuse, specular, ao, translucency)
    smooth, normal = normalize(smooth, dim=-1), normalize(normal, dim=-1)
    colour = shade(material, normal, view, light_1lc, mesh_normals=smooth)
    face_v = torch.zeros(whole_1v3.shape[1], device=device)
    face_v[: len(head.template_v3)] = torch.from_numpy(head.region("skin") & ~head.region("scalp")).to(face_v)
    face = (gather(visible, triangles, face_v[None, :, None]) > 0.5) & (material_n == 0)[:, None]
    return torch.cat([colour, torch.ones_like(ao), face.to(colour)], dim=1)


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


def _slice(visible: Covered, start: int) -> Covered:
    end = start + _CHUNK
    return Covered(*(getattr(visible, field.name)[start:end] for field in fields(visible)))
