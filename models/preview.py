"""Small renderings for previews: a grey head seen from the front."""

import torch
from torch import Tensor

from mosar.models.camera import Camera
from mosar.models.head import Head
from mosar.models.head.morph import vertex_normals
from mosar.models.rasterizer import covered, gather, rasterize, scatter

DISTANCE_MM = 900.0


def frontal_camera(count: int, size: int, device: torch.device, head_height_mm: float = 330.0) -> Camera:
    """Cameras in front of the face; the head fills a square picture of ``size`` pixels."""
    focal = size * DISTANCE_MM / head_height_mm
    intrinsics = torch.tensor([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]], device=device)
    rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0], device=device))
    translation = torch.tensor([0.0, 0.0, DISTANCE_MM], device=device)
    return Camera(
        intrinsics.expand(count, 3, 3).clone(),
        rotation.expand(count, 3, 3).clone(),
        translation.expand(count, 3).clone(),
    )


def grey_heads(head: Head, vertices_bv3: Tensor, size: int) -> Tensor:
    """Render heads (b, v, 3), mm, as grey pictures (b, 3, size, size), sRGB in [0, 1], lit from near the camera."""
    count = len(vertices_bv3)
    triangles = torch.tensor(head.triangles_f3, device=vertices_bv3.device)
    camera = frontal_camera(count, size, vertices_bv3.device)
    visible = covered(rasterize(vertices_bv3, triangles, camera, (size, size)), len(triangles))
    normals = gather(visible, triangles, vertex_normals(vertices_bv3, triangles))
    light = torch.nn.functional.normalize(torch.tensor([0.3, 0.3, 1.0], device=vertices_bv3.device), dim=0)
    shade = 0.15 + 0.75 * (torch.nn.functional.normalize(normals, dim=-1) @ light).clamp_min(0.0)
    return scatter(visible, shade[:, None].expand(-1, 3), (count, size, size))
