"""The parameter encoder: from a face crop and what the detector sees in it to shape, reflectance, light and pose.

Legend: b batch, k codes, l SH coefficients, v vertices, n detected points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mosar.models.camera import Camera
from mosar.models.head import Head
from mosar.models.morphable.detector_error import DetectorError
from mosar.models.morphable.network import Morphable
from mosar.models.networks.resnet import ResNet
from mosar.models.precision import full_precision
from mosar.models.stages.geometry.alignment import Aligned
from mosar.models.stages.geometry.config import Config
from mosar.models.stages.geometry.points_network import SCORES, Normal, PointsNetwork, Seen, normal

REFERENCE_MM = 100.0  # the length whose size in the crop encodes the distance
_FEATURES = 256


@dataclass(frozen=True)
class Parameters:
    """The parameters that explain a face crop.

    Attributes:
        identity, expression: distributions of codes of the morphable model.
        reflectance_bk: codes of the morphable model.
        light_b81c: nine SH bands, head frame, linear RGB.
        rotation_b33: head frame to camera frame (OpenCV).
        image_position_b3: the head origin's position in the crop (shares of its side, from its centre; x right, y
            down) and the logarithm of the size of 100 mm at its depth, as a share of the crop's side.
    """

    identity: Normal
    expression: Normal
    reflectance_bk: Tensor
    light_b81c: Tensor
    rotation_b33: Tensor
    image_position_b3: Tensor

    @property
    def identity_bk(self) -> Tensor:
        """The most likely identity codes."""
        return self.identity.mean_bk

    @property
    def expression_bk(self) -> Tensor:
        """The most likely expression codes."""
        return self.expression.mean_bk


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
def rotation_of(turn_b3: Tensor) -> Tensor:
    """Rotation (b, 3, 3) by a rotation vector, radians (Rodrigues)."""
    x, y, z = turn_b3.unbind(dim=1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).unflatten(1, (3, 3))
    return torch.linalg.matrix_exp(skew)


@full_precision
def turn_of(rotation_b33: Tensor) -> Tensor:
    """The rotation vector (b, 3), radians, of a rotation by less than half a turn."""
    axis = torch.stack([rotation_b33[:, i, j] - rotation_b33[:, j, i] for i, j in ((2, 1), (0, 2), (1, 0))], dim=1)
    sine = 0.5 * axis.norm(dim=1)
    cosine = 0.5 * (rotation_b33.diagonal(dim1=1, dim2=2).sum(dim=1) - 1.0)
    angle = torch.atan2(sine, cosine)
    return axis * torch.where(sine > 1e-6, angle / (2.0 * sine).clamp_min(1e-6), torch.full_like(sine, 0.5))[:, None]


@full_precision
def turn_between(first_b33: Tensor, second_b33: Tensor) -> Tensor:
    """The rotation vector (b, 3), radians, after which the first rotation becomes the second."""
    return turn_of(first_b33.mT @ second_b33)


class Geometry(nn.Module):
    """Face crop and detected points to :class:`Parameters`; holds its frozen morphable model and the error model.

    The detected points give a first answer, and the crop corrects it.
    """

    mean_light_lc: Tensor
    std_light_lc: Tensor
    mean_pose_6: Tensor
    std_pose_6: Tensor
    score_ke: Tensor
    share_k: Tensor
    mirrored_n: Tensor
    embedded_l: Tensor

    def __init__(self, config: Config, head: Head, morphable: Morphable) -> None:
        super().__init__()
        self.config = config
        self.morphable = morphable.requires_grad_(False)
        self.points = PointsNetwork(config.components, config.hidden, _FEATURES)
        m = morphable.config
        of_points = [m.identity_codes, m.identity_codes, m.expression_codes, m.expression_codes, 6]
        self._sizes = [*of_points, m.reflectance_codes, 243]
        self.answer = _small(nn.Linear(_FEATURES, sum(of_points)))
        self.backbone = ResNet(config.width, config.blocks) if config.image else None
        features = (self.backbone.out_features if self.backbone is not None else 0) + _FEATURES * config.points
        self.hidden = nn.Sequential(nn.Linear(features, _FEATURES), nn.SiLU())
        self.out = _small(nn.Linear(_FEATURES, sum(self._sizes)))
        embedded_l = torch.from_numpy(head.landmark_triangle_l >= 0)
        self.error = DetectorError(int(embedded_l.sum()))
        self.register_buffer("embedded_l", embedded_l)
        self.register_buffer("mirrored_n", torch.arange(len(embedded_l)))
        self.register_buffer("mean_light_lc", torch.zeros(81, 3))
        self.register_buffer("std_light_lc", torch.ones(81, 3))
        self.register_buffer("mean_pose_6", torch.zeros(6))
        self.register_buffer("std_pose_6", torch.ones(6))
        self.register_buffer("score_ke", torch.zeros(m.expression_codes + 1, SCORES))
        # Codes of small details are mostly noise: each counts by its share of the variance of the maps.
        energy_k = morphable.reflectance_basis.square().sum(dim=1)
        self.register_buffer("share_k", energy_k / energy_k.sum().clamp_min(1e-8), persistent=False)

    def forward(self, image_b3hw: Tensor, seen: Seen) -> tuple[Parameters, Parameters]:
        """The parameters, and those that the detected points alone tell, with average reflectance and light.

        Args:
            image_b3hw: sRGB-encoded in [0, 1].
        """
        told, aligned = self.points(seen)
        rough = self.answer(told).split(self._sizes[:5], dim=1)
        inputs = [] if self.backbone is None else [self.backbone(2.0 * image_b3hw - 1.0)]
        inputs += [told] if self.config.points else []
        fine = self.out(self.hidden(torch.cat(inputs, dim=1))).float().split(self._sizes, dim=1)
        if self.config.points:
            fine = (*(a.float() + b for a, b in zip(rough, fine[:5], strict=True)), *fine[5:])
        crop_size, rest = image_b3hw.shape[-1], (torch.zeros_like(fine[5]), torch.zeros_like(fine[6]))
        return self._posed(fine, crop_size, aligned), self._posed((*rough, *rest), crop_size, aligned)

    def average(self, seen: Seen, crop_size: int) -> Parameters:
        """The answer that ignores the photograph, but for the pose by which the detected points fit best on average."""
        rest = [seen.points_bn3.new_zeros(len(seen.points_bn3), size) for size in self._sizes]
        aligned = self.points(seen)[1]
        return self._posed(rest, crop_size, aligned)

    @full_precision
    def scores(self, expression_bk: Tensor) -> Tensor:
        """The detector's scores (b, e) that expression codes make likely."""
        return torch.cat([expression_bk, torch.ones_like(expression_bk[:, :1])], dim=1) @ self.score_ke

    @full_precision
    def pose_error(self, found: Parameters, rotation_b33: Tensor, image_position_b3: Tensor) -> Tensor:
        """Difference (b, 6) of rotation and position from the true ones, in units of what the points leave open."""
        turn = turn_between(rotation_b33, found.rotation_b33)
        return torch.cat([turn, found.image_position_b3 - image_position_b3], dim=1) / self.std_pose_6

    @full_precision
    def _posed(self, parts: Sequence[Tensor], crop_size: int, aligned: Aligned) -> Parameters:
        identity, identity_digits, expression, expression_digits, pose, reflectance, light = (x.float() for x in parts)
        pose = self.mean_pose_6 + self.std_pose_6 * pose
        size = aligned.scale_b / crop_size
        at = torch.cat([aligned.centre_b3[:, :2] / crop_size - 0.5, size.clamp_min(1e-3).log()[:, None]], dim=1)
        return Parameters(
            normal(identity, identity_digits),
            normal(expression, expression_digits),
            reflectance,
            self.mean_light_lc + self.std_light_lc * light.unflatten(1, (81, 3)),
            aligned.rotation_b33 @ rotation_of(pose[:, :3]),
            at + pose[:, 3:],
        )


def _small(layer: nn.Linear) -> nn.Linear:
    nn.init.normal_(layer.weight, std=1e-3)
    nn.init.zeros_(layer.bias)
    return layer
