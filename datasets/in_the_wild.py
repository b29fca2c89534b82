"""Turn a user's photograph into an in-the-wild sample."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mosar.datasets.photographs import read_photograph
from mosar.datasets.portrait import crop_portrait
from mosar.datasets.quality import measure
from mosar.errors import PhotographError
from mosar.models.head.expressions import NAMES

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
    seen = np.ones((len(points), 1))
    return {
        "image": portrait.image_hw3,
        "mask": portrait.mask_hw,
        "landmarks": np.concatenate([portrait.landmarks_n2, seen], 1).astype(np.float32),
        "blendshapes": np.array([faces[0].blendshapes.get(name, 0.0) for name in NAMES], np.float32),
        "camera": {"size": size, "intrinsics": portrait.intrinsics_33.round(5).tolist()},
        "capture": {"source": "photograph", "quality": measure(image, points, faces[0].pose).to_json()},
    }
