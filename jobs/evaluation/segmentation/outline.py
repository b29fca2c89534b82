"""Classes of a portrait's pixels from landmarks and colours alone: what a trained segmentation must beat."""

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.skin_mask import fill
from mosar.models.face_classes import CLASSES
from mosar.models.face_outlines import LEFT_BROW, LEFT_EYE, LIPS, MOUTH, OVAL, RIGHT_BROW, RIGHT_EYE

_NECK = 0.08  # how far below the jaw the neck may show, as a share of the face's height
_CUT = 192  # pixels a side of the picture on which GrabCut works


def landmark_classes(image_hw3: NDArray[np.uint8], landmarks_px: NDArray[np.floating]) -> NDArray[np.float32]:
    """Classes (K x H x W, 0 or 1) of a square crop without a trained segmentation: skin, lips, brows, eyes, mouth.

    The landmarks outline the face. Where hair and background reach into the outline, above the brows and at the sides,
    and where the skin goes on below the jaw, GrabCut (Rother et al. 2004) decides by colours. Glasses and hands remain.
    All the rest is background.
    """
    import cv2

    points = np.asarray(landmarks_px, np.float64)[:, :2]
    size = image_hw3.shape[0]
    number = np.zeros((size, size), np.uint8)
    fill(number, cv2.convexHull(points[list(OVAL)].astype(np.float32))[:, 0], CLASSES.index("skin"))
    number[:] = np.where(_looks_like_skin(image_hw3, points, number > 0), CLASSES.index("skin"), 0)
    for name, outlines in (
        ("brows", (LEFT_BROW, RIGHT_BROW)),
        ("lips", (LIPS,)),
        ("mouth", (MOUTH,)),
        ("eyes", (LEFT_EYE, RIGHT_EYE)),
    ):
        for outline in outlines:
            fill(number, points[list(outline)], CLASSES.index(name))
    return np.stack([number == i for i in range(len(CLASSES))]).astype(np.float32)


def _looks_like_skin(
    image_hw3: NDArray[np.uint8], points_n2: NDArray[np.float64], hull_hw: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Pixels that do not belong to hair or background by their colour; those of the inner face are never doubted."""
    import cv2

    size = image_hw3.shape[0]
    small = min(size, _CUT)
    scale = small / size
    colours = cv2.resize(image_hw3, (small, small), interpolation=cv2.INTER_AREA)
    hull = cv2.resize(hull_hw.astype(np.uint8), (small, small), interpolation=cv2.INTER_NEAREST) > 0
    inner = np.zeros((small, small), np.uint8)
    middle = points_n2[list(OVAL)].mean(axis=0)
    shrunk = middle + 0.86 * (points_n2[list(OVAL)] - middle)
    brow = min(points_n2[list(LEFT_BROW)][:, 1].min(), points_n2[list(RIGHT_BROW)][:, 1].min())
    shrunk[:, 1] = np.maximum(shrunk[:, 1], brow)
    fill(inner, cv2.convexHull((shrunk * scale).astype(np.float32))[:, 0], 255)
    reach = max(3, round(_NECK * float(np.ptp(points_n2[:, 1])) * scale))
    below = np.zeros_like(hull)
    for shift in range(1, reach):
        below[shift:] |= hull[:-shift]
    jaw = points_n2[[234, 454]][:, 1].mean() * scale
    below &= ~hull & (np.arange(small)[:, None] > jaw)
    around = cv2.dilate(hull.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    state = np.where(hull, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    state[around & ~hull] = cv2.GC_PR_BGD
    state[below] = cv2.GC_PR_FGD
    state[inner > 0] = cv2.GC_FGD
    if not (state == cv2.GC_FGD).any() or not (state == cv2.GC_BGD).any():
        return hull_hw
    models = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(colours, state, (0, 0, 0, 0), models[0], models[1], 3, cv2.GC_INIT_WITH_MASK)
    found = ((state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)).astype(np.uint8)
    return np.asarray(cv2.resize(found, (size, size), interpolation=cv2.INTER_LINEAR) > 0)
