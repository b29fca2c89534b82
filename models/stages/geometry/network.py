"""The parameter encoder: from a face crop and its landmarks to shape, reflectance, light and pose.

Legend: b batch, k codes, l SH coefficients, v vertices.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mosar.models.camera import Camera
from mosar.models.head import LANDMARKS, Head
from mosar.models.morphable.network import Morphable
from mosar.models.networks.resnet import ResNet
from mosar.models.precision import full_precision
from mosar.models.stages.geometry.config import Config

REFERENCE_MM = 100.0  # the length whose size in the crop encodes the distance


@dataclass(frozen=True)
class Parameters:
    """The parameters that explain a face crop.

    Attributes:
        identity_bk, expression_bk, reflectance_bk: codes of the morphable model.
        light_b81c: nine SH bands, head frame, linear RGB.
        rotation_b33: head frame to camera frame (OpenCV).
        image_position_b3: the head origin's position in the crop (shares of its side, from its centre; x right, y
            down) and the logarithm of the size of 100 mm at its depth, as a share of the crop's side.
    """

    identity_bk: Tensor
    expression_bk: Tensor
    reflectance_bk: Tensor
    light_b81c: Tensor
    rotation_b33: Tensor
    image_position_b3: Tensor


def image_position(camera: Camera, crop_size: int) -> Tensor:
    """``Parameters.image_position_b3`` of a camera whose pixels are those of the crop."""
    k, t = camera.intrinsics_b33, camera.translation_b3
    x = (k[:, 0, 0] * t[:, 0] / t[:, 2] + k[:, 0, 2]) / crop_size - 0.5
    y = (k[:, 1, 1] * t[:, 1] / t[:, 2] + k[:, 1, 2]) / crop_size - 0.5
    return torch.stack([x, y, (k[:, 0, 0] * REFERENCE_MM / (t[:, 2] * crop_size)).log()], dim=1)


def camera_of(rotation_b33: Tensor, image_position_b3: Tensor, intrinsics_b33: Tensor, crop_size: int) -> Camera:
    """The inverse of :func:`image_position` for known intrinsics."""
    k = intrinsics_b33
    depth = k[:, 0, 0] * REFERENCE_MM / (image_position_b3[:, 2].exp() * crop_size)
    x = ((image_position_b3[:, 0] + 0.5) * crop_size - k[:, 0, 2]) / k[:, 0, 0] * depth
    y = ((image_position_b3[:, 1] + 0.5) * crop_size - k[:, 1, 2]) / k[:, 1, 1] * depth
    return Camera(intrinsics_b33, rotation_b33, torch.stack([x, y, depth], dim=1))


@full_precision
def rotation_from_six(six_b6: Tensor) -> Tensor:
    """Rotation (b, 3, 3) from its first two rows, orthonormalised (Zhou et al. 2019)."""
    first = torch.nn.functional.normalize(six_b6[:, :3], dim=1)
    second = six_b6[:, 3:] - (first * six_b6[:, 3:]).sum(dim=1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=1)


class Geometry(nn.Module):
    """Face crop (b, 3, s, s) and landmarks (b, 478, 2) to :class:`Parameters`; holds its frozen morphable model."""

    mean_light_lc: Tensor
    std_light_lc: Tensor
    mean_image_position: Tensor
    std_image_position: Tensor
    frontal: Tensor
    embedded_l: Tensor
    mean_points_n2: Tensor
    std_points: Tensor

    def __init__(self, config: Config, head: Head, morphable: Morphable) -> None:
        super().__init__()
        self.config = config
        self.morphable = morphable.requires_grad_(False)
        self.backbone = ResNet(config.width, config.blocks)
        features = self.backbone.out_features
        if config.landmarks:
            self.points = nn.Sequential(
                nn.Linear(2 * LANDMARKS, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU()
            )
            features += 256
        m = morphable.config
        self._sizes = [m.identity_codes, m.expression_codes, m.reflectance_codes, 243, 6, 3]
        self.hidden = nn.Sequential(nn.Linear(features, 256), nn.SiLU())
        self.out = nn.Linear(256, sum(self._sizes))
        nn.init.normal_(self.out.weight, std=1e-3)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("mean_light_lc", torch.zeros(81, 3))
        self.register_buffer("std_light_lc", torch.ones(81, 3))
        self.register_buffer("mean_image_position", torch.zeros(3))
        self.register_buffer("std_image_position", torch.ones(3))
        self.register_buffer("frontal", torch.tensor([1.0, 0.0, 0.0, 0.0, -1.0, 0.0]))
        self.register_buffer("mean_points_n2", torch.full((LANDMARKS, 2), 0.5))
        self.register_buffer("std_points", torch.tensor(0.1))
        self.register_buffer("embedded_l", torch.from_numpy(head.landmark_triangle_l >= 0))

    def forward(self, image_b3hw: Tensor, landmarks_bn2: Tensor) -> Parameters:
        """Predict the parameters.

        Args:
            image_b3hw: sRGB-encoded in [0, 1].
            landmarks_bn2: the detector's points as shares of the crop's side, (0, 0) its top left corner.
        """
        features = self.backbone(2.0 * image_b3hw - 1.0)
        if self.config.landmarks:
            points = (landmarks_bn2 - self.mean_points_n2) / self.std_points * self.embedded_l[:, None]
            features = torch.cat([features, self.points(points.flatten(1))], dim=1)
        z_s, z_e, z_r, light, six, place = self.out(self.hidden(features)).float().split(self._sizes, dim=1)
        return Parameters(
            z_s,
            z_e,
            z_r,
            self.mean_light_lc + self.std_light_lc * light.reshape(-1, 81, 3),
            rotation_from_six(self.frontal + six),
            self.mean_image_position + self.std_image_position * place,
        )

    def average(self, count: int) -> Parameters:
        """The prediction that ignores the photograph: average codes, light and image position, seen from the front."""
        z_s, z_e, z_r = (self.mean_image_position.new_zeros(count, n) for n in self._sizes[:3])
        light, place = self.mean_light_lc.expand(count, -1, -1), self.mean_image_position.expand(count, -1)
        return Parameters(z_s, z_e, z_r, light, rotation_from_six(self.frontal.expand(count, -1)), place)
