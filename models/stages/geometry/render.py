"""Render the model's skin into a small picture, for the photometric loss."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import normalize, relu

from mosar.models.camera import Camera, position
from mosar.models.head import Head
from mosar.models.head.morph import vertex_normals
from mosar.models.rasterizer import Covered, covered, gather, rasterize, scatter
from mosar.models.shading import Material, irradiance, shade
from mosar.models.uv import sample


@dataclass(frozen=True)
class SkinPicture:
    """The visible skin of a batch of heads.

    Attributes:
        colour_b3hw: linear RGB, not clamped.
        mask_b1hw: bool, where the nearest surface is skin.
        negative: mean of the negative part of the irradiance there, which is zero for every real light.
    """

    colour_b3hw: Tensor
    mask_b1hw: Tensor
    negative: Tensor


def render_skin(
    head: Head,
    vertices_bv3: Tensor,
    diffuse_b3hw: Tensor,
    specular_b1hw: Tensor,
    light_b81c: Tensor,
    camera: Camera,
    size: int,
) -> SkinPicture:
    """Shade without occlusion and translucency at ``size`` x ``size``; the camera's pixels are those of the picture."""
    device, count = vertices_bv3.device, len(vertices_bv3)
    triangles = torch.tensor(head.triangles_f3, device=device)
    visible = covered(rasterize(vertices_bv3, triangles, camera, (size, size)), len(triangles))
    visible = _keep(visible, torch.from_numpy(head.material_f == 0).to(device)[visible.triangle_n])
    image_n = visible.image_n
    uv_1w2 = torch.tensor(head.uv_w2, device=device)[None]
    uv_n2 = gather(visible, torch.tensor(head.uv_triangles_f3, device=device), uv_1w2)
    uv_bp2 = scatter(visible, uv_n2, (count, size, size)).flatten(2).mT
    texel_n4 = sample(torch.cat([diffuse_b3hw, specular_b1hw], dim=1), uv_bp2)[
        image_n, visible.row_n * size + visible.column_n
    ]
    normal = normalize(gather(visible, triangles, vertex_normals(vertices_bv3, triangles)), dim=-1)
    view = normalize(position(camera)[image_n] - gather(visible, triangles, vertices_bv3), dim=-1)
    one = torch.ones_like(texel_n4[:, :1])
    material = Material(texel_n4[:, :3], texel_n4[:, 3:], one, torch.zeros_like(one))
    picture = torch.cat([shade(material, normal, view, light_b81c, image_n), one], dim=1)
    picture_b4hw = scatter(visible, picture, (count, size, size))
    negative = relu(-irradiance(light_b81c, normal, None, image_n)).sum() / max(3 * len(image_n), 1)
    return SkinPicture(picture_b4hw[:, :3], picture_b4hw[:, 3:] > 0.5, negative)


def _keep(visible: Covered, keep_n: Tensor) -> Covered:
    return Covered(*(getattr(visible, field.name)[keep_n] for field in fields(visible)))
