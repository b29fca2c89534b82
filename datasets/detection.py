"""What the landmark detector sees in a picture, as members of a sample.

Training on what the detector sees, beside where the points truly are, shows the networks its errors. Its last bits
differ between processors, so the values are rounded; two machines can still disagree in a last digit.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosar.models.head import LANDMARKS
from mosar.models.head.expressions import NAMES

if TYPE_CHECKING:
    from mosar.datasets.landmarks import Detector, Face


def observe(detector: "Detector", image_hw3: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Members ``detected``, ``blendshapes`` and ``pose`` of a sample with this picture (h, w, 3 sRGB).

    Give it the picture as a reader of the sample will see it: :func:`mosar.datasets.schema.stored`.

    ``detected`` (478, 3): x, y in px of the crop and depth relative to the head's centre in px, smaller towards the
    camera. ``blendshapes`` (52): scores by :data:`mosar.models.head.expressions.NAMES`; the detector has none for
    ``tongueOut``. ``pose`` (4, 4): maps the detector's canonical face (cm, +y up, +z to the camera) to its camera. All
    are zero if no face was found; of several faces the largest counts.
    """
    faces = detector.detect(image_hw3)
    if not faces:
        return {
            "detected": np.zeros((LANDMARKS, 3), np.float32),
            "blendshapes": np.zeros(len(NAMES), np.float32),
            "pose": np.zeros((4, 4), np.float32),
        }
    face = max(faces, key=lambda f: float(np.prod(np.ptp(f.landmarks[:, :2], axis=0))))
    return {
        "detected": face.landmarks.round(3),
        "blendshapes": scores(face).round(4),
        "pose": face.pose.round(5),
    }


def found(seen: dict[str, NDArray[np.float32]]) -> bool:
    """Whether the members of :func:`observe` show a face."""
    return bool(seen["pose"].any())


def scores(face: "Face") -> NDArray[np.float32]:
    """A face's expression scores (52) in the order of :data:`mosar.models.head.expressions.NAMES`."""
    return np.array([face.blendshapes.get(name, 0.0) for name in NAMES], np.float32)
