"""A picture of an avatar under any light and camera.

Legend: n covered pixels, h w rows and columns.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from mosar.models.avatar.avatar import Avatar
from mosar.models.camera import Camera, position, transform_image
from mosar.models.colour import to_linear
from mosar.models.head import Head
from mosar.models.head.morph import vertex_normals
from mosar.models.rasterizer import Covered, covered, gather, rasterize, scatter
from mosar.models.shading import Material, shade
from mosar.models.uv import chart, sample, surface, to_world

_CHUNK = 1 << 17  # pixels shaded at a time: bounds memory for large photographs
_OTHER_SPECULAR = {"eyes": 0.5, "mouth": 0.35}


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


@torch.no_grad()
def render(
    head: Head, avatar: Avatar, camera: Camera, light_1lc: Tensor, size: tuple[int, int], supersample: int = 2
) -> Picture:
    """Render at ``size`` = (height, width) pixels, each the mean of ``supersample`` squared samples."""
    height, width = size[0] * supersample, size[1] * supersample
    scale = torch.diag(torch.tensor([supersample, supersample, 1.0], device=light_1lc.device))
    camera = transform_image(camera, scale[None])
    triangles = torch.tensor(head.triangles_f3, device=light_1lc.device)
    visible = covered(rasterize(avatar.vertices_1v3, triangles, camera, (height, width)), len(triangles))
    texels = _skin_texels(head, avatar)
    normals = vertex_normals(avatar.vertices_1v3, triangles)
    parts = [
        _shade(head, avatar, camera, light_1lc, texels, normals, _slice(visible, start))
        for start in range(0, len(visible.image_n), _CHUNK)
    ]
    values = torch.cat(parts) if parts else avatar.vertices_1v3.new_zeros(0, 5)
    picture = avg_pool2d(scatter(visible, values, (1, height, width)), supersample)
    return Picture(picture[:, :3], picture[:, 3:4], picture[:, 4:])


def _shade(
    head: Head,
    avatar: Avatar,
    camera: Camera,
    light_1lc: Tensor,
    texels_1chw: Tensor,
    normals_1v3: Tensor,
    visible: Covered,
) -> Tensor:
    """Colour, one, and whether it is facial skin, of each covered pixel (n, 5)."""
    device = light_1lc.device
    triangles = torch.tensor(head.triangles_f3, device=device)
    uv_1w2 = torch.tensor(head.uv_w2, device=device)[None]
    uv = gather(visible, torch.tensor(head.uv_triangles_f3, device=device), uv_1w2)
    texel = sample(texels_1chw, uv[None])[0]
    diffuse, specular, ao, translucency, normal = texel.split([3, 1, 1, 1, 3], dim=1)
    material_n = torch.tensor(head.material_f, device=device)[visible.triangle_n]
    geometric = gather(visible, triangles, normals_1v3)
    for index, name in enumerate(head.material_names[1:], start=1):
        here = (material_n == index)[:, None]
        own = torch.tensor(getattr(head, f"{name}_albedo_hw3")).to(device).permute(2, 0, 1)[None] / 255.0
        diffuse = torch.where(here, sample(to_linear(own), uv[None])[0], diffuse)
        specular = torch.where(here, torch.full_like(specular, _OTHER_SPECULAR[name]), specular)
        ao = torch.where(here, torch.ones_like(ao), ao)
        translucency = torch.where(here, torch.zeros_like(ao), translucency)
        normal = torch.where(here, geometric, normal)
    view = normalize(position(camera) - gather(visible, triangles, avatar.vertices_1v3), dim=-1)
    colour = shade(Material(diffuse, specular, ao, translucency), normalize(normal, dim=-1), view, light_1lc)
    face_v = torch.from_numpy(head.region("skin") & ~head.region("scalp")).to(colour)
    face = (gather(visible, triangles, face_v[None, :, None]) > 0.5) & (material_n == 0)[:, None]
    return torch.cat([colour, torch.ones_like(ao), face.to(colour)], dim=1)


def _skin_texels(head: Head, avatar: Avatar) -> Tensor:
    """Diffuse, specular, occlusion, translucency and head-frame normal (1, 9, s, s)."""
    maps = avatar.maps
    skin = surface(chart(head, maps.diffuse.shape[-1]), head, avatar.vertices_1v3)
    world = to_world(skin, maps.normal)
    return torch.cat([maps.diffuse, maps.specular, maps.ao, maps.translucency, world], dim=1)


def _slice(visible: Covered, start: int) -> Covered:
    end = start + _CHUNK
    return Covered(*(getattr(visible, field.name)[start:end] for field in fields(visible)))
