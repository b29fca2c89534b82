"""The square crop around a face, shared by the training streams, the virtual light stage and the reconstruction.

A crop is an affine map from photograph pixels to crop pixels (3 x 3, one scale), so that cameras, landmarks and masks
can follow it exactly. Streams and inference turn the face upright (:func:`turn`). Pixel
centres are at integers + 0.5.
"""

import numpy as np
from numpy.typing import NDArray

from mosar.models.face_outlines import FACE_MM

MARGIN = 1.75
"""Side of the crop divided by the longer side of the landmarks' box: hairline, ears and chin fit with some margin."""
RAISE = 0.09
"""How far the crop's centre lies above the box's centre, in crop sides: the hair reaches above the landmarks."""

_FOREHEAD, _CHIN = 10, 152  # landmarks

DISTANCE_MM = (700.0, 2000.0)
"""Range of camera distances that a photograph is assumed to have."""


def assumed_intrinsics(landmarks_px: NDArray[np.floating], height: float, width: float) -> NDArray[np.float64]:
    """Intrinsics (3 x 3) to assume for a photograph (``height`` x ``width`` px) of an unknown camera.

    An uncropped photograph has a focal length of about 1.2 times its longer side. If this puts the face outside
    ``DISTANCE_MM``, the photograph was probably cropped: the focal length then puts the face at the limit of that
    range. ``landmarks_px``: n x 2, or n x 3 with a visibility.
    """
    face_px = box(landmarks_px)[1]
    distance = np.clip(1.2 * max(height, width) * FACE_MM / face_px, *DISTANCE_MM)
    focal = float(distance) * face_px / FACE_MM
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def face_crop(landmarks_px: NDArray[np.floating], size: int) -> NDArray[np.float64]:
    """The crop around a face, as an affine map (3 x 3) from photograph pixels to pixels of a ``size`` x ``size`` crop.

    ``landmarks_px``: n x 2, or n x 3 with a visibility; rows with visibility 0 (not embedded) are ignored. The crop
    may reach beyond the photograph: :func:`warp` fills it.
    """
    centre, extent = box(landmarks_px)
    side = extent * MARGIN
    return crop_affine(centre - np.array([0.0, RAISE * side]), side, size)


def corners(height: int, width: int) -> NDArray[np.float32]:
    """Corners (4, 2) of an image, clockwise from the top left, pixels."""
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)


def shift(offset_2: NDArray[np.number]) -> NDArray[np.float64]:
    """Affine map (3 x 3) that moves points by ``offset``, right and down."""
    moved = np.eye(3)
    moved[:2, 2] = offset_2
    return moved


def crop_affine(centre_px: NDArray[np.floating], side_px: float, size: int) -> NDArray[np.float64]:
    """Affine map (3 x 3) of the square with this centre and side to a ``size`` x ``size`` crop."""
    scale = size / side_px
    left, top = np.asarray(centre_px, np.float64) - side_px / 2
    return np.array([[scale, 0, -left * scale], [0, scale, -top * scale], [0, 0, 1]])


def roll(landmarks_px: NDArray[np.floating]) -> float:
    """Angle in radians, clockwise as seen, by which a face is turned in its image: 0 if the forehead is up.

    ``landmarks_px``: the detector's 478 points. Forehead and chin lie in the head's symmetry plane, so that a head that
    looks aside is not turned by it.
    """
    up = np.asarray(landmarks_px, np.float64)[_FOREHEAD, :2] - np.asarray(landmarks_px, np.float64)[_CHIN, :2]
    return float(np.arctan2(up[0], -up[1]))


def turn(angle: float, height: int, width: int) -> NDArray[np.float64]:
    """Affine map (3 x 3) that turns an image about its centre by an angle in radians, counter-clockwise as seen."""
    cos, sin, x, y = np.cos(angle), np.sin(angle), width / 2, height / 2
    return np.array([[cos, sin, x - cos * x - sin * y], [-sin, cos, y + sin * x - cos * y], [0, 0, 1]])


def resize_affine(old: int, new: int) -> NDArray[np.float64]:
    """Affine map (3 x 3) of an ``old`` x ``old`` picture to a ``new`` x ``new`` one."""
    return np.diag([new / old, new / old, 1.0])


def transform_points(points_n: NDArray[np.floating], affine_33: NDArray[np.float64]) -> NDArray[np.float32]:
    """Move points by an affine map: n x 2, or n x 3 with a visibility (kept; rows with visibility 0 do not move)."""
    moved = np.array(points_n, np.float32)
    known = moved[:, 2] > 0 if moved.shape[1] == 3 else np.ones(len(moved), bool)
    moved[known, :2] = points_n[known, :2] @ affine_33[:2, :2].T + affine_33[:2, 2]
    return moved


def warp(
    image: NDArray[np.uint8], affine_33: NDArray[np.float64], size: int, border: int | None = None
) -> NDArray[np.uint8]:
    """Crop an image (H x W or H x W x 3, uint8) to ``size`` x ``size``, anti-aliased.

    ``affine_33``: photograph px to crop px; one scale, any turn. A crop coarser than the photograph averages pixels
    over their area. Beyond the photograph its border pixels are repeated (a black border would add an edge that no
    face has); pass ``cv2.BORDER_CONSTANT`` for masks.
    """
    import cv2

    scale = float(np.hypot(affine_33[0, 0], affine_33[1, 0]))
    inverse_33 = np.asarray(np.linalg.inv(affine_33), np.float64)
    image, origin = _window(image, inverse_33, size)
    ratio = np.ones(2)
    if scale < 1:
        # shrink by area to the smallest size whose pixels are no larger than the crop's, then interpolate
        height, width = image.shape[:2]
        new_height, new_width = max(1, int(np.ceil(height * scale))), max(1, int(np.ceil(width * scale)))
        image = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA).reshape(
            new_height, new_width, *image.shape[2:]
        )
        ratio = np.array([new_width / width, new_height / height])
    # crop pixel to shrunk photograph; OpenCV has pixel centres at integers
    linear_22 = ratio[:, None] * inverse_33[:2, :2]
    offset_2 = ratio * (inverse_33[:2, 2] - origin) + linear_22.sum(1) / 2 - 0.5
    inverse = np.concatenate([linear_22, offset_2[:, None]], axis=1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE if border is None else border
    return np.asarray(cv2.warpAffine(image, inverse, (size, size), flags=flags, borderMode=border), np.uint8)


def warp_classes(
    classes_hw: NDArray[np.uint8], affine_33: NDArray[np.float64], size: int, outside: int
) -> NDArray[np.uint8]:
    """Crop a map of class numbers like :func:`warp`: each pixel takes the class that covers most of it.

    Pixels beyond the map get the class ``outside``.
    """
    found = np.full((size, size), outside, np.uint8)
    import cv2

    most, total = np.zeros((size, size), np.uint8), np.zeros((size, size), np.int64)
    for value in np.unique(classes_hw):
        cover = warp(np.where(classes_hw == value, np.uint8(255), np.uint8(0)), affine_33, size, cv2.BORDER_CONSTANT)
        found[cover > most] = value
        most, total = np.maximum(most, cover), total + cover
    found[total < 128] = outside
    return found


def resize_area(image: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    """Resize a square image: area average when it shrinks, linear interpolation when it grows."""
    import cv2

    if image.shape[0] == size:
        return image
    method = cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=method))


def box(landmarks_px: NDArray[np.floating]) -> tuple[NDArray[np.float64], float]:
    """Centre (2) and longer side of the landmarks' box, px; rows with visibility 0 are ignored."""
    points = np.asarray(landmarks_px, np.float64)
    if points.shape[1] == 3:
        points = points[points[:, 2] > 0]
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    return (low + high) / 2, max(float((high - low).max()), 1e-6)


def _window(
    image: NDArray[np.uint8], inverse_33: NDArray[np.float64], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The image within one crop side around the crop, and its left top corner: the rest need not be shrunk."""
    height, width = image.shape[:2]
    corners_42 = np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ inverse_33[:2, :2].T + inverse_33[:2, 2]
    side = size * float(np.hypot(inverse_33[0, 0], inverse_33[1, 0]))
    x0, y0 = np.maximum(np.floor(corners_42.min(0) - side), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(corners_42.max(0) + side), [width, height]).astype(int)
    if x1 - x0 < 2 or y1 - y0 < 2 or (x0, y0, x1, y1) == (0, 0, width, height):
        return image, np.zeros(2)
    return image[y0:y1, x0:x1], np.array([x0, y0], np.float64)
