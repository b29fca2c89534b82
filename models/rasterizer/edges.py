"""Gradients of outlines: how a picture changes where one surface moves in front of another.

A rasterised picture is only piecewise differentiable: gradients of barycentrics ignore the pixels that a moving outline
uncovers. An outline that moves by dx pixels between neighbouring pixels with colours I and J, whose surfaces do not
join, replaces an area dx of one colour by the other. Half of the change is assigned to each pixel (the idea of DRTK's
edge gradients, Pidhorskyi et al. 2024): ``dL/dx = (dL/dI + dL/dJ) / 2 . (I - J)``, for the point of the nearer surface.
Shapes: b images, v vertices, f triangles, c channels, h w rows and columns, n covered pixels.
"""

from typing import Any

import torch
from pytorch3d.renderer.mesh.rasterizer import Fragments
from torch import Tensor
from torch.autograd.function import once_differentiable

from mosar.models.camera import Camera, to_camera
from mosar.models.rasterizer.coverage import covered, gather, scatter

_JOIN = 1.5
"""Surfaces join if their depths differ by less than this many times the depth change of the steeper over a pixel."""

_FLAT = 0.2
"""Slope added to that of each triangle, because a steeper facet may lie between two neighbouring pixels."""


def edge_gradients(
    image_bchw: Tensor, fragments: Fragments, vertices_bv3: Tensor, triangles_f3: Tensor, camera: Camera
) -> Tensor:
    """Return the picture unchanged; its gradients then also move outlines.

    Apply it once, to the whole picture (B, C, H, W) with its background, before the loss and before any filter.

    Args:
        image_bchw: any channels, made from ``fragments``.
        fragments: result of :func:`mosar.models.rasterizer.rasterize` for the arguments that follow.
        vertices_bv3: head frame, mm; receive gradients.
        triangles_f3: triangles of the mesh.
        camera: receives gradients.
    """
    batch, _, height, width = image_bchw.shape
    if fragments.pix_to_face.shape != (batch, height, width, 1) or len(vertices_bv3) != batch:
        raise ValueError(
            f"edge_gradients: got image {tuple(image_bchw.shape)}, fragments {tuple(fragments.pix_to_face.shape)} and "
            f"vertices {tuple(vertices_bv3.shape)}; expected (B, C, H, W), (B, H, W, 1) and (B, V, 3)"
        )
    pixels = covered(fragments.detach(), len(triangles_f3))
    points_bv3 = to_camera(camera, vertices_bv3)
    point_n3 = gather(pixels, triangles_f3, points_bv3)
    k_n33 = camera.intrinsics_b33.index_select(0, pixels.image_n)
    pixel_n2 = (k_n33[:, :2] @ (point_n3 / point_n3[:, 2:])[..., None])[..., 0]
    with torch.no_grad():
        corner_n3 = triangles_f3[pixels.triangle_n] + (pixels.image_n * points_bv3.shape[1])[:, None]
        a, b, c = points_bv3.reshape(-1, 3)[corner_n3].unbind(1)
        normal_n3 = torch.linalg.cross(b - a, c - a)
        # Change of the depth of the triangle's plane over a pixel, along x and y, mm.
        facing_n1 = (normal_n3 * point_n3).sum(-1, keepdim=True)
        focal_n2 = torch.stack([k_n33[:, 0, 0], k_n33[:, 1, 1]], -1)
        side_n2 = point_n3[:, 2:] / focal_n2  # side of a pixel at the point's depth, mm
        slope_n2 = side_n2 * (_FLAT + (point_n3[:, 2:] * normal_n3[:, :2] / facing_n1).abs())
        surface = scatter(pixels, torch.cat([point_n3[:, 2:], slope_n2], -1), (batch, height, width), torch.inf)
    at_b2hw = scatter(pixels, pixel_n2, (batch, height, width))
    value: Tensor = _Edges.apply(image_bchw, at_b2hw, surface)
    return value


class _Edges(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image_bchw: Tensor, at_b2hw: Tensor, surface_b3hw: Tensor) -> Tensor:
        ctx.save_for_backward(image_bchw, surface_b3hw)
        return image_bchw.view_as(image_bchw)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        image_bchw, surface_b3hw = ctx.saved_tensors
        (gradient_bchw,) = gradients
        for_at = image_bchw.new_zeros(len(image_bchw), 2, *image_bchw.shape[-2:])
        for axis, dimension in ((0, 3), (1, 2)):
            count = image_bchw.shape[dimension] - 1
            pictures = (image_bchw, gradient_bchw, surface_b3hw)
            value, gradient, surface = (x.narrow(dimension, 0, count) for x in pictures)
            value_2, gradient_2, surface_2 = (x.narrow(dimension, 1, count) for x in pictures)
            depth, depth_2 = surface[:, 0], surface_2[:, 0]
            joined = _JOIN * torch.maximum(surface[:, 1 + axis], surface_2[:, 1 + axis])
            joined = torch.where(torch.isinf(joined), 0.0, joined)
            edge = (depth - depth_2).abs() > joined  # two empty pixels give nan, hence no edge
            moved = ((gradient + gradient_2) * (value - value_2)).sum(1) / 2 * edge
            nearer = depth < depth_2
            for_at[:, axis].narrow(dimension - 1, 0, count).add_(moved * nearer)
            for_at[:, axis].narrow(dimension - 1, 1, count).add_(moved * ~nearer)
        return gradient_bchw, for_at, None
