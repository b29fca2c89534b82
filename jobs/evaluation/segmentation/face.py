"""The crop of a picture's face on the path of inference, and classes in it. Shapes: k classes, h w pixels."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets import crop, schema
from mosar.datasets.colour_check import grey, is_colourless
from mosar.datasets.face_search import find_faces, size_px
from mosar.datasets.landmarks import Detector
from mosar.datasets.portrait import crop_portrait, without_borders
from mosar.datasets.upright import turn_upright
from mosar.jobs.evaluation.segmentation.outline import landmark_classes
from mosar.models.reconstruct.pipeline import CROP
from mosar.models.stages.segmentation.inference import classify
from mosar.models.stages.segmentation.network import Segmentation


@dataclass(frozen=True, eq=False)
class Face:
    """The largest face of a picture, cropped as in inference.

    Attributes:
        image_hw3: sRGB, uint8.
        landmarks_n2: the detector's points, pixels of the crop.
        inside_hw: which pixels show the picture's scene.
        to_crop_33: affine map from pixels of the picture to those of the crop.
    """

    image_hw3: NDArray[np.uint8]
    landmarks_n2: NDArray[np.float32]
    inside_hw: NDArray[np.bool_]
    to_crop_33: NDArray[np.float64]


def find(detector: Detector, image_hw3: NDArray[np.uint8]) -> Face | None:
    """The largest face; None if none is found."""
    faces = find_faces(detector, image_hw3)
    if not faces:
        return None
    scene, corner = without_borders(image_hw3)
    upright = turn_upright(scene, max(faces, key=size_px).landmarks[:, :2] - corner)
    found = crop_portrait(upright.image_hw3, upright.landmarks_n2, CROP, upright.corners_42)
    image = grey(found.image_hw3) if is_colourless(found.image_hw3) else found.image_hw3
    return Face(image, found.landmarks_n2, found.inside_hw, found.to_crop_33 @ upright.turn_33 @ crop.shift(-corner))


def segmented(network: Segmentation, face: Face) -> NDArray[np.int64]:
    """The most probable class (h, w) of each pixel."""
    image = torch.from_numpy(face.image_hw3 / np.float32(255)).permute(2, 0, 1)[None]
    return classify(network, image, torch.from_numpy(face.landmarks_n2)[None])[0].argmax(dim=0).numpy()


def outlined(face: Face) -> NDArray[np.int64]:
    """The same without a network: by landmarks and colours."""
    return landmark_classes(face.image_hw3, face.landmarks_n2).argmax(axis=0)


def true_classes(face: Face, classes_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The true classes (h, w) of the picture in the crop; ``schema.UNKNOWN`` where they or the picture end."""
    truth = crop.warp_classes(classes_hw, face.to_crop_33, CROP, schema.UNKNOWN)
    return np.where(face.inside_hw, truth, np.uint8(schema.UNKNOWN))
