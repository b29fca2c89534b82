"""Measure the quality of a photograph of a face: size, sharpness, pose, occluded share of the skin, and colour."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosar.datasets import crop
from mosar.datasets.skin_mask import skin_mask

SMALL_PX, BLURRED, TURNED_DEGREES, OCCLUDED, GREY = 80.0, 0.0025, 40.0, 0.12, 4.0
FLAGS = ("small", "blurred", "turned", "occluded", "grey")

_FACE = 96  # px, height of the face at which sharpness is measured


@dataclass(frozen=True)
class Quality:
    """Quality measures of a photograph.

    Attributes:
        face_px: height of the face in the photograph.
        sharpness: share of the finest details in the energy of all details, 0 to 1, with the face 96 px high.
        yaw, pitch: head pose relative to the camera, degrees; yaw to the subject's left, pitch up.
        occluded: share of the skin mask without the colour of skin: hair, glasses, hands, paint or hard shadow.
        chroma: CIELAB chroma of the skin.
    """

    face_px: float
    sharpness: float
    yaw: float
    pitch: float
    occluded: float
    chroma: float

    @property
    def flags(self) -> tuple[str, ...]:
        """Which of :data:`FLAGS` hold."""
        held = (
            self.face_px < SMALL_PX,
            self.sharpness < BLURRED,
            max(abs(self.yaw), abs(self.pitch)) > TURNED_DEGREES,
            self.occluded > OCCLUDED,
            self.chroma < GREY,
        )
        return tuple(flag for flag, holds in zip(FLAGS, held, strict=True) if holds)

    def to_json(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in dataclasses.asdict(self).items()}


def measure(image_hw3: NDArray[np.uint8], landmarks_n2: NDArray[np.floating], pose_44: NDArray[np.floating]) -> Quality:
    """Quality of a photograph (H W 3 sRGB), given the detector's landmarks (478, px) and pose of the face."""
    import cv2

    height = float(np.ptp(landmarks_n2[:, 1]))
    side = round(_FACE * crop.MARGIN)
    affine = crop.face_crop(landmarks_n2, side)
    face = crop.warp(image_hw3, affine, side)
    mask = skin_mask(crop.transform_points(landmarks_n2, affine), side, side) > 0
    lab_n3 = cv2.cvtColor(cv2.GaussianBlur(face, (0, 0), 1.0), cv2.COLOR_RGB2LAB).astype(np.float64)[mask]
    if not len(lab_n3):  # landmarks so narrow that their outline covers no pixel
        lab_n3 = np.zeros((1, 3))
    chroma = float(np.linalg.norm(np.median(lab_n3, 0)[1:] - 128))
    yaw, pitch = angles(pose_44[:3, :3])
    return Quality(height, _sharpness(face), yaw, pitch, _occluded(lab_n3), chroma)


def angles(rotation_33: NDArray[np.floating]) -> tuple[float, float]:
    """Yaw (to the subject's left) and pitch (up), in degrees, of a rotation from face to camera axes.

    Both frames have +y up; +z points out of the face and towards the viewer.
    """
    x, y, z = rotation_33[:, 2] / max(float(np.linalg.norm(rotation_33[:, 2])), 1e-9)
    return float(np.degrees(np.arctan2(x, z))), float(np.degrees(np.arcsin(np.clip(y, -1, 1))))


def _sharpness(face_hw3: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian divided by the variance of the intensity, in the middle of the crop, in [0, 1]."""
    import cv2

    size = len(face_hw3)
    grey = cv2.cvtColor(face_hw3, cv2.COLOR_RGB2GRAY).astype(np.float64)[size // 4 : -size // 5, size // 4 : -size // 4]
    return float(np.clip(cv2.Laplacian(grey, cv2.CV_64F).var() / 20 / max(grey.var(), 25.0), 0, 1))


def _occluded(lab_n3: NDArray[np.float64]) -> float:
    """Share of the skin pixels (8-bit CIELAB) that are far from the median colour."""
    centre = np.median(lab_n3, 0)
    spread = np.clip(1.48 * np.median(np.abs(lab_n3 - centre), 0), [12, 4, 4], [20, 6, 6])
    off = np.abs(lab_n3 - centre) / spread
    return float(((off[:, 1:] > 4).any(1) | (off[:, 0] > 5)).mean())
