"""Captures of scanned people as the landmark detector sees them, with the truth beside.

Legend: n captures, l landmarks, v vertices.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mosar.datasets import lights
from mosar.datasets.landmarks import Detector
from mosar.datasets.virtual_stage import skin
from mosar.datasets.virtual_stage.capture import VirtualStage, capture
from mosar.datasets.virtual_stage.subjects import sample_subject
from mosar.datasets.virtual_stage.uv_regions import atlas
from mosar.models.camera import Camera, project
from mosar.models.head import Head, landmarks

Array = npt.NDArray[np.float64]

_MAP = 256
_FAR = 0.12  # median error over the picture's side above which the detector took something else for the face


@dataclass(frozen=True, eq=False)
class DetectedCaptures:
    """Detected points (n 478 2), px; cameras; landmarks on the posed mesh (n 478 3) and neutral meshes (n v 3), mm.

    ``missed``: captures without a detection of the face, which are left out.
    """

    points_nl2: Array
    intrinsics_n33: Array
    rotation_n33: Array
    translation_n3: Array
    landmark_nl3: Array
    neutral_nv3: Array
    missed: int

    def errors(self) -> Array:
        """Detected minus true positions (n l 2) in the image plane, mm at the head's depth."""
        return (self.points_nl2 - self._projected()) * self._scale()[:, None, None]

    def _scale(self) -> Array:
        return np.asarray(self.translation_n3[:, 2] / self.intrinsics_n33[:, 0, 0])

    def _projected(self) -> Array:
        camera = Camera(*(torch.from_numpy(x) for x in (self.intrinsics_n33, self.rotation_n33, self.translation_n3)))
        return project(camera, torch.from_numpy(self.landmark_nl3)).numpy()


def scanned_captures(head: Head, first: int, count: int, size: int) -> DetectedCaptures:
    """One textured capture, ``size`` pixels wide, of each of ``count`` scanned people whose face the detector finds.

    Args:
        first: seed of the first person.
    """
    stage = VirtualStage(head, _MAP, size, lights.TRAIN_LIGHTS)
    missed, seed = 0, first - 1
    found: list[DetectedCaptures] = []
    with Detector(max_faces=1) as detector:
        while len(found) + missed < count:
            seed += 1
            person = sample_subject(head, seed, scanned=1.0)
            sample, _ = capture(stage, person, skin.paint(atlas(head, _MAP), person), 0)
            faces = detector.detect(sample["image"])
            camera = sample["camera"]
            mesh = torch.from_numpy(sample["mesh"]).double()[None]
            one = DetectedCaptures(
                points_nl2=(faces[0].landmarks[None, :, :2] if faces else np.full((1, 478, 2), np.inf)).astype(float),
                intrinsics_n33=np.array([camera["intrinsics"]]),
                rotation_n33=np.array([camera["rotation"]]),
                translation_n3=np.array([camera["translation_mm"]]),
                landmark_nl3=landmarks(head, mesh).numpy(),
                neutral_nv3=sample["neutral"][None].astype(np.float64),
                missed=0,
            )
            embedded = head.landmark_triangle_l >= 0
            distance_l = np.linalg.norm((one.points_nl2 - one._projected())[0, embedded], axis=1)
            if np.median(distance_l) > _FAR * size:
                missed += 1
            else:
                found.append(one)
    fields = ("points_nl2", "intrinsics_n33", "rotation_n33", "translation_n3", "landmark_nl3", "neutral_nv3")
    return DetectedCaptures(**{f: np.concatenate([getattr(one, f) for one in found]) for f in fields}, missed=missed)
