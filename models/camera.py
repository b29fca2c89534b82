"""Pinhole cameras in the OpenCV convention: x right, y down, z forward; ``x_cam = R x_head + t``, millimetres.

An upright frontal head has ``R = diag(1, -1, -1)`` and ``t_z > 0``. Pixel centres are at integers + 0.5; the origin is
at the top left.
Shapes: b batch, n points.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mosar.models.precision import full_precision

if TYPE_CHECKING:
    from pytorch3d.renderer import PerspectiveCameras


FACING = 0.2
"""A photograph shows a point of a surface only if the cosine between its normal and the view direction exceeds this."""


@dataclass(frozen=True)
class Camera:
    """A batch of pinhole cameras.

    Attributes:
        intrinsics_b33: pixels; upper triangular, last row (0, 0, 1).
        rotation_b33: head frame to camera frame.
        translation_b3: mm, camera frame.

    Raises:
        ValueError: the shapes do not belong together.
    """

    intrinsics_b33: Tensor
    rotation_b33: Tensor
    translation_b3: Tensor

    def __post_init__(self) -> None:
        shapes = [tuple(x.shape) for x in (self.intrinsics_b33, self.rotation_b33, self.translation_b3)]
        batch = shapes[0][:1]
        if shapes != [(*batch, 3, 3), (*batch, 3, 3), (*batch, 3)] or not batch:
            raise ValueError(
                f"Camera: got intrinsics {shapes[0]}, rotation {shapes[1]}, translation {shapes[2]}; "
                "expected (B, 3, 3), (B, 3, 3), (B, 3) with the same B"
            )

    def __len__(self) -> int:
        return self.intrinsics_b33.shape[0]

    def __getitem__(self, image: int) -> "Camera":
        """The camera of one image, as a batch of one."""
        kept = slice(image, image + 1)
        return Camera(self.intrinsics_b33[kept], self.rotation_b33[kept], self.translation_b3[kept])

    def to(self, target: torch.device | torch.dtype) -> "Camera":
        """The same cameras on another device or in another dtype, like ``Tensor.to``."""
        return Camera(*(x.to(target) for x in (self.intrinsics_b33, self.rotation_b33, self.translation_b3)))


@full_precision
def to_camera(camera: Camera, points_bn3: Tensor) -> Tensor:
    """Transform points (B, N, 3), mm, from the head frame to the camera frame. All cameras share points (1, N, 3)."""
    if points_bn3.ndim != 3 or points_bn3.shape[-1] != 3 or points_bn3.shape[0] not in (1, len(camera)):
        raise ValueError(
            f"to_camera: got points {tuple(points_bn3.shape)} for {len(camera)} cameras; expected (B, N, 3)"
        )
    points_bn3 = points_bn3.expand(len(camera), -1, -1)
    return torch.baddbmm(camera.translation_b3[:, None], points_bn3, camera.rotation_b33.mT)


@full_precision
def project(camera: Camera, points_bn3: Tensor) -> Tensor:
    """Project points of the head frame (B, N, 3), mm, to pixels (B, N, 2). Points of zero depth give inf or nan."""
    homogeneous_bn3 = to_camera(camera, points_bn3) @ camera.intrinsics_b33.mT
    return homogeneous_bn3[..., :2] / homogeneous_bn3[..., 2:]


@full_precision
def position(camera: Camera) -> Tensor:
    """Centres of projection (B, 3) in the head frame, mm."""
    return -(camera.rotation_b33.mT @ camera.translation_b3[..., None])[..., 0]


def views(camera: Camera, points_bn3: Tensor) -> Tensor:
    """Unit directions (B, N, 3), head frame, from points of the head frame (B, N, 3) to the camera."""
    return torch.nn.functional.normalize(position(camera)[:, None] - points_bn3, dim=-1)


@full_precision
def transform_image(camera: Camera, affine_b33: Tensor) -> Camera:
    """The cameras after a crop or a change of scale of their images: ``px' = A px`` with homogeneous pixels.

    ``affine_b33`` (B, 3, 3) or (3, 3) has the last row (0, 0, 1) and no rotation, so intrinsics stay upper triangular.
    """
    if affine_b33.shape not in ((3, 3), (1, 3, 3), (len(camera), 3, 3)):
        raise ValueError(
            f"transform_image: got {tuple(affine_b33.shape)} for {len(camera)} cameras; expected (B, 3, 3)"
        )
    return Camera(affine_b33 @ camera.intrinsics_b33, camera.rotation_b33, camera.translation_b3)


def turn_image(camera: Camera, affine_33: Tensor) -> Camera:
    """The cameras after a change of their images by ``px' = A px``, where A has one scale and any turn.

    The turn becomes part of the rotation, so intrinsics stay upper triangular. Pixels must be square, without skew.
    """
    scale = torch.linalg.det(affine_33[:2, :2]).sqrt()
    turn_33 = torch.eye(3).to(affine_33)
    turn_33[:2, :2] = affine_33[:2, :2] / scale
    intrinsics_b33 = affine_33 @ camera.intrinsics_b33
    intrinsics_b33[:, :2, :2] = scale * camera.intrinsics_b33[:, :2, :2]
    return Camera(intrinsics_b33, turn_33 @ camera.rotation_b33, camera.translation_b3 @ turn_33.mT)


def pytorch3d_cameras(camera: Camera, height: int, width: int) -> "PerspectiveCameras":
    """The same cameras as pytorch3d cameras in screen space. The skew must be zero: pytorch3d has no skew."""
    from pytorch3d.renderer import PerspectiveCameras

    k = camera.intrinsics_b33
    if bool((k[:, 0, 1] != 0).any()):
        raise ValueError(f"pytorch3d_cameras: got skew {k[:, 0, 1].tolist()}; expected 0")
    flip = k.new_tensor([-1.0, -1.0, 1.0])  # pytorch3d: +x left, +y up, and points are rows
    return PerspectiveCameras(
        focal_length=torch.stack([k[:, 0, 0], k[:, 1, 1]], -1),
        principal_point=k[:, :2, 2],
        R=camera.rotation_b33.mT * flip,
        T=camera.translation_b3 * flip,
        in_ndc=False,
        image_size=((height, width),),
        device=k.device,
    )
