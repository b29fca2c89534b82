"""Unwraps a photograph onto the chart. Shapes: b batch, v vertices, c channels, h w rows and columns."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from mosar.models.camera import FACING, Camera, project, to_camera, views
from mosar.models.rasterizer import rasterize
from mosar.models.uv.chart import chart
from mosar.models.uv.surface import surface

if TYPE_CHECKING:
    from mosar.models.head import Head

_SLACK_MM = 0.5


def unwrap(image_bchw: Tensor, head: "Head", vertices_bv3: Tensor, camera: Camera, size: int) -> tuple[Tensor, Tensor]:
    """Unwrap the colours of the head's skin in an image.

    Args:
        image_bchw: any channels; linear colour.
        vertices_bv3: head frame, mm.
        camera: cameras of the images.
        size: texels along a side of the chart.

    Returns:
        The texture (B, C, size, size), sampled bilinearly, 0 at unknown texels, differentiable in image, vertices and
        camera; and ``known`` (B, 1, size, size), bool: the point lies in the image, faces the camera (n.v > 0.2) and is
        not hidden by the head. The caller has to mask hair or glasses in front of the skin.
    """
    if image_bchw.ndim != 4 or len(image_bchw) != len(camera) or len(vertices_bv3) != len(camera):
        raise ValueError(
            f"unwrap: got image {tuple(image_bchw.shape)}, vertices {tuple(vertices_bv3.shape)} and {len(camera)} "
            f"cameras; expected (B, C, H, W), (B, V, 3) and B"
        )
    height, width = image_bchw.shape[-2:]
    texels = chart(head, size)
    points = surface(texels, head, vertices_bv3)
    position_bn3 = points.position_b3hw.flatten(2).mT
    pixel_bn2 = project(camera, position_bn3)
    inside_bn = (pixel_bn2 >= 0).all(-1) & (pixel_bn2[..., 0] <= width) & (pixel_bn2[..., 1] <= height)
    grid_bn2 = torch.where(inside_bn[..., None], pixel_bn2, 0.0) * pixel_bn2.new_tensor([2 / width, 2 / height]) - 1
    texture_bcn = grid_sample(
        image_bchw, grid_bn2[:, :, None].to(image_bchw.dtype), padding_mode="border", align_corners=False
    )[..., 0]
    with torch.no_grad():
        facing_bn = (points.normal_b3hw.flatten(2).mT * views(camera, position_bn3)).sum(-1)
        triangles_f3 = torch.tensor(head.triangles_f3, device=vertices_bv3.device)
        depth_bhw = rasterize(vertices_bv3, triangles_f3, camera, (height, width)).zbuf[..., 0]
        nearest_bn = grid_sample(depth_bhw[:, None], grid_bn2[:, :, None], mode="nearest", align_corners=False)[
            :, 0, :, 0
        ]
        depth_bn = to_camera(camera, position_bn3)[..., 2]
        # The depth is sampled at a pixel centre up to a pixel away, so oblique surfaces need a larger tolerance.
        pixel_mm_bn = depth_bn / camera.intrinsics_b33[:, None, 0, 0]
        slope_bn = torch.sqrt(1 / facing_bn.clamp_min(FACING) ** 2 - 1)
        open_bn = (nearest_bn > 0) & (depth_bn <= nearest_bn + pixel_mm_bn * slope_bn + _SLACK_MM)
        known_bn = inside_bn & (facing_bn > FACING) & open_bn & (texels.triangle_hw.flatten().to(open_bn.device) >= 0)
    known_b1hw = known_bn.view(-1, 1, size, size)
    return texture_bcn.unflatten(-1, (size, size)) * known_b1hw, known_b1hw
