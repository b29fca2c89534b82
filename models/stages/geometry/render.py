"""The model's own skin in a small picture, for the photometric loss."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize, relu

from mosar.models.camera import Camera
from mosar.models.head import Head
from mosar.models.head.morph import vertex_normals
from mosar.models.rasterizer import covered, gather, rasterize, scatter
from mosar.models.shading import Material, irradiance, shade
from mosar.models.uv import sample


@dataclass(frozen=True)
class SkinPicture:
    """The visible skin of a batch of heads.

    Attributes:
        colour_b3hw: linear RGB, not clamped.
        mask_b1hw: bool, where the nearest surface is skin.
        negative: mean of the negative part of the irradiance there, which no real light has.
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
    triangles = torch.from_numpy(head.triangles_f3).to(device)
    visible = covered(rasterize(vertices_bv3, triangles, camera, (size, size)), len(triangles))
    uv_bw2 = torch.from_numpy(head.uv_w2).to(device).expand(count, -1, -1)
    eye_b3 = -(camera.rotation_b33.transpose(1, 2) @ camera.translation_b3[:, :, None])[:, :, 0]
    attributes = [
        gather(visible, torch.from_numpy(head.uv_triangles_f3).to(device), uv_bw2),
        gather(visible, triangles, vertex_normals(vertices_bv3, triangles)),
        eye_b3[visible.image_n] - gather(visible, triangles, vertices_bv3),
        torch.from_numpy(head.material_f == 0).to(vertices_bv3)[visible.triangle_n, None],
    ]
    pixels = scatter(visible, torch.cat(attributes, dim=1), (count, size, size)).flatten(2).transpose(1, 2)
    uv, normal, view, skin = pixels.split([2, 3, 3, 1], dim=2)
    normal, view = normalize(normal, dim=-1), normalize(view, dim=-1)
    texel = sample(torch.cat([diffuse_b3hw, specular_b1hw], dim=1), uv)
    material = Material(texel[..., :3], texel[..., 3:], torch.ones_like(skin), torch.zeros_like(skin))
    colour = shade(material, normal, view, light_b81c)
    negative = (relu(-irradiance(light_b81c, normal)) * skin).sum() / (3.0 * skin.sum()).clamp_min(1.0)

    def picture(values: Tensor) -> Tensor:
        return values.transpose(1, 2).reshape(count, -1, size, size)

    return SkinPicture(picture(colour * skin), picture(skin) > 0.5, negative)
