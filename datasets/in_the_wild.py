"""Turn a user's photograph into an in-the-wild sample."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mosar.datasets import detection, schema
from mosar.datasets.photographs import read_photograph
from mosar.datasets.portrait import crop_portrait
from mosar.datasets.quality import measure
from mosar.errors import PhotographError

if TYPE_CHECKING:
    from mosar.datasets.landmarks import Detector

SMALLEST_PX = 40
"""Smallest height of a face."""


def in_the_wild_sample(data: bytes, detector: "Detector", size: int) -> dict[str, Any]:
    """The sample (see :mod:`mosar.datasets.schema`) of an image file that shows one face; ``size``: crop side, pixels.

    ``capture["quality"]`` holds the fields of :class:`mosar.datasets.quality.Quality`.

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
    portrait = crop_portrait(image, points, size)
    in_crop = detection.observe(detector, schema.stored(portrait.image_hw3))
    if not detection.found(in_crop):
        raise PhotographError("the face was not found again in its crop")
    seen = np.ones((len(points), 1))
    return {
        "image": portrait.image_hw3,
        "mask": portrait.mask_hw,
        "landmarks": np.concatenate([portrait.landmarks_n2, seen], 1).astype(np.float32),
        **in_crop,
        "camera": {"size": size, "intrinsics": portrait.intrinsics_33.round(5).tolist()},
        "capture": {"source": "photograph", "quality": measure(image, points, faces[0].pose).to_json()},
    }
