"""Prepare a photograph of a face for the networks: scene without borders, crop, landmarks and assumed camera."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosar.datasets import crop
from mosar.datasets.skin_mask import fill
from mosar.models.face_outlines import FACE_MM

NEAREST_MM = 250.0
"""Least distance of a face from the camera."""

_FLAT = 8  # largest difference of 8-bit values within a border: the noise of JPEG
_THINNEST = 2  # rows of a border
_STRAIGHT = 0.9  # share of the scene's width that its first rows have
_FILLED = 0.5  # share of these rows that differs from the border
_ROWS = 256  # of the scene, at most, in which its width is looked for
_WIDEST = 0.8  # share of the image that two opposite borders may take


@dataclass(frozen=True, eq=False)
class PortraitCrop:
    """A face in the square crop that training streams and inference share.

    Attributes:
        image_hw3: sRGB, uint8; beyond the photograph its outermost pixels are repeated.
        inside_hw: bool, which pixels show the photograph.
        landmarks_n2: the detector's points, pixels of the crop.
        intrinsics_33: in pixels of the crop: the focal length is known or assumed.
        to_crop_33: affine map from pixels of the photograph to those of the crop.
        focal_known: whether the camera recorded the focal length; otherwise it is assumed.
    """

    image_hw3: NDArray[np.uint8]
    inside_hw: NDArray[np.bool_]
    landmarks_n2: NDArray[np.float32]
    intrinsics_33: NDArray[np.float64]
    to_crop_33: NDArray[np.float64]
    focal_known: bool = False


def crop_portrait(
    image_hw3: NDArray[np.uint8],
    landmarks_n2: NDArray[np.floating],
    size: int,
    corners_42: NDArray[np.floating] | None = None,
    focal_px: float | None = None,
) -> PortraitCrop:
    """The ``size`` x ``size`` crop around a face in a photograph.

    Args:
        image_hw3: the photograph without borders (:func:`without_borders`).
        landmarks_n2: pixels of the photograph.
        corners_42: its corners, clockwise from the top left, in pixels, if it was turned within its image.
        focal_px: focal length, if the camera recorded it. One that would put the face nearer than ``NEAREST_MM`` is not
            used: the photograph was cropped.
    """
    to_crop = crop.face_crop(landmarks_n2, size)
    corners = crop.corners(*image_hw3.shape[:2]) if corners_42 is None else np.asarray(corners_42)
    sides = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[0])
    intrinsics = crop.assumed_intrinsics(landmarks_n2, float(sides[1]), float(sides[0]))
    intrinsics[:2, 2] = corners.mean(axis=0)
    known = focal_px is not None and plausible(focal_px, landmarks_n2)
    if known:
        intrinsics[[0, 1], [0, 1]] = focal_px
    inside = np.zeros((size, size), np.uint8)
    fill(inside, crop.transform_points(corners, to_crop), 255)
    return PortraitCrop(
        image_hw3=crop.warp(image_hw3, to_crop, size),
        inside_hw=inside > 0,
        landmarks_n2=crop.transform_points(landmarks_n2, to_crop),
        intrinsics_33=to_crop @ intrinsics,
        to_crop_33=to_crop,
        focal_known=known,
    )


def plausible(focal_px: float, landmarks_n2: NDArray[np.floating]) -> bool:
    """Whether a focal length puts the face farther than an arm holds a camera."""
    return focal_px * FACE_MM / crop.box(landmarks_n2)[1] >= NEAREST_MM


def without_borders(image_hw3: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The part of a photograph that is no uniform border (frames, bars, paper), and its left and top (2).

    A border tells nothing of the scene's light. It has one colour, up to the noise of JPEG, over whole rows or columns,
    and the scene begins along a straight edge: a plain background is no border.
    """
    height, width = image_hw3.shape[:2]
    top, bottom = _borders(image_hw3)
    left, right = _borders(image_hw3[top : height - bottom].transpose(1, 0, 2))
    return image_hw3[top : height - bottom, left : width - right], np.array([left, top])


def _borders(image_hw3: NDArray[np.uint8]) -> tuple[int, int]:
    """Number of uniform rows at the top and at the bottom; none if they would take most of the image."""
    flat = np.ptp(image_hw3.reshape(len(image_hw3), -1, 3).astype(np.int16), axis=1).max(axis=1) <= _FLAT
    means = image_hw3.reshape(len(image_hw3), -1, 3).mean(axis=1)
    found = []
    for order in (slice(None), slice(None, None, -1)):
        same = flat[order] & (np.abs(means[order] - means[order][0]).max(axis=1) <= _FLAT)
        count = int(np.argmin(same)) if not same.all() else 0
        found.append(count if count >= _THINNEST and _has_edge(image_hw3[order][count:], means[order][0]) else 0)
    return (found[0], found[1]) if sum(found) < _WIDEST * len(image_hw3) else (0, 0)


def _has_edge(scene_hw3: NDArray[np.uint8], colour_3: NDArray[np.floating]) -> bool:
    """Whether rows that follow a border of this colour begin along a straight edge, unlike a head before a wall."""

    def differing(rows_hw3: NDArray[np.uint8]) -> NDArray[np.int64]:
        off = np.abs(rows_hw3.astype(np.int16) - colour_3).max(axis=2) > _FLAT
        return np.flatnonzero(off.any(axis=0))

    whole = differing(scene_hw3[:: max(1, len(scene_hw3) // _ROWS)])
    first = differing(scene_hw3[:2])  # the first row may be a blend of both
    if not len(first):
        return False
    width = np.ptp(first) + 1
    return bool(width >= _STRAIGHT * (np.ptp(whole) + 1) and len(first) >= _FILLED * width)
