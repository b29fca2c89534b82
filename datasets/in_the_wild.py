"""Turn a user's photograph into an in-the-wild sample."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mosar.datasets import detection, schema
from mosar.datasets.focal_length import recorded_focal
from mosar.datasets.photographs import read_photograph
from mosar.datasets.portrait import PortraitCrop, crop_portrait, without_borders
from mosar.datasets.quality import measure
from mosar.datasets.skin_mask import skin_mask
from mosar.errors import PhotographError

if TYPE_CHECKING:
    from mosar.datasets.landmarks import Detector
    from mosar.models.stages.segmentation.network import Segmentation

SMALLEST_PX = 40
"""Smallest height of a face."""


def in_the_wild_sample(
    data: bytes, detector: "Detector", size: int, segmentation: "Segmentation | None" = None
) -> dict[str, Any]:
    """The sample (see :mod:`mosar.datasets.schema`) of an image file that shows one face.

    ``capture["quality"]`` holds the fields of :class:`mosar.datasets.quality.Quality`.

    Args:
        data: the image file.
        detector: finds the face.
        size: side of the crop, pixels.
        segmentation: tells the skin; without it the hull of the landmarks is the mask.

    Raises:
        PhotographError: the file is unreadable, shows no face or several, or the face is too small.
    """
    image = read_photograph(data)
    faces = detector.detect(image)
    if len(faces) != 1:
        raise PhotographError("no face was found" if not faces else "several faces were found")
    points = faces[0].landmarks[:, :2]
    if np.ptp(points[:, 1]) < SMALLEST_PX:
        raise PhotographError(f"the face is too small; expected at least {SMALLEST_PX} pixels")
    scene, corner = without_borders(image)
    portrait = crop_portrait(scene, points - corner, size, focal_px=recorded_focal(data))
    in_crop = detection.observe(detector, schema.stored(portrait.image_hw3))
    if not detection.found(in_crop):
        raise PhotographError("the face was not found again in its crop")
    seen = np.ones((len(points), 1))
    return {
        "image": portrait.image_hw3,
        "mask": _mask(portrait, segmentation),
        "landmarks": np.concatenate([portrait.landmarks_n2, seen], 1).astype(np.float32),
        **in_crop,
        "camera": {"size": size, "intrinsics": portrait.intrinsics_33.round(5).tolist()},
        "capture": {"source": "photograph", "quality": measure(image, points, faces[0].pose).to_json()},
    }


def _mask(portrait: PortraitCrop, segmentation: "Segmentation | None") -> NDArray[np.uint8]:
    """255 on the facial skin inside the photograph."""
    size = len(portrait.image_hw3)
    if segmentation is None:
        return skin_mask(portrait.landmarks_n2, size, size) * portrait.inside_hw.astype(np.uint8)
    import torch

    from mosar.models.face_classes import SKIN, share
    from mosar.models.stages.segmentation.inference import classify

    image = torch.from_numpy(portrait.image_hw3 / np.float32(255)).permute(2, 0, 1)[None]
    skin = share(classify(segmentation, image, torch.from_numpy(portrait.landmarks_n2)[None]), *SKIN)
    return np.where((skin[0, 0].numpy() > 0.5) & portrait.inside_hw, np.uint8(255), np.uint8(0))
