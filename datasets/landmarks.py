"""The face landmark detector: 478 points, 51 expression scores and the head pose of every face in an image.

Wraps mediapipe's Face Landmarker with the model in ``assets`` beside this module (its notice is there too).
"""

import contextlib
import dataclasses
import hashlib
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mosar.errors import DataError

MODEL_PATH = Path(__file__).parent / "assets" / "face_landmarker_v2.task"
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"


@dataclasses.dataclass(frozen=True)
class Face:
    """One detected face.

    Attributes:
        landmarks: (478, 3) float32: x, y in pixels of the image (pixel centres at integers + 0.5, origin top left) and
            depth relative to the head's centre, also in pixels, smaller towards the camera.
        blendshapes: score in [0, 1] by ARKit name.
        pose: (4, 4) float32, maps the canonical face (cm, +y up, +z to the camera) to the detector's camera.
    """

    landmarks: npt.NDArray[np.float32]
    blendshapes: dict[str, float]
    pose: npt.NDArray[np.float32]


class Detector:
    """Landmark detector. Use as ``with Detector() as detector:``; the detector's threads end with the block.

    Args:
        max_faces: largest number of faces reported for one image.
        min_confidence: detections below this confidence are left out.

    Raises:
        DataError: the model file is missing or altered.
    """

    def __init__(self, max_faces: int = 4, min_confidence: float = 0.5) -> None:
        content = _verified_model()
        with _quiet():
            from mediapipe.tasks import python as tasks
            from mediapipe.tasks.python import vision

            options = vision.FaceLandmarkerOptions(
                base_options=tasks.BaseOptions(model_asset_buffer=content),
                num_faces=max_faces,
                min_face_detection_confidence=min_confidence,
                min_face_presence_confidence=min_confidence,
                output_face_blendshapes=True,
                output_facial_transformation_matrixes=True,
            )
            self._detector: Any = vision.FaceLandmarker.create_from_options(options)
            self._closing = weakref.finalize(self, _close, self._detector)
            # mediapipe closes by a thread pool. The interpreter ends those before it runs what atexit knows, so that a
            # detector freed later prints a traceback; only this hook, which the pools themselves use, comes first.
            self._closing.atexit = False
            threading._register_atexit(self._closing)  # type: ignore[attr-defined]
            self.detect(np.zeros((64, 64, 3), np.uint8))  # the first call writes to stderr too

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the detector; calling it again does nothing."""
        self._closing()
        self._detector = None

    def detect(self, image_hw3: npt.NDArray[np.uint8]) -> list[Face]:
        """The faces in an sRGB image (h, w, 3 uint8), in the detector's order; empty when it finds none.

        Raises:
            ValueError: the image has another shape or type, or the detector is closed.
        """
        if self._detector is None:
            raise ValueError("the landmark detector is closed")
        if image_hw3.ndim != 3 or image_hw3.shape[2] != 3 or image_hw3.dtype != np.uint8:
            raise ValueError(f"image of shape {image_hw3.shape} and type {image_hw3.dtype}, expected (h, w, 3) uint8")
        height, width = image_hw3.shape[:2]
        import mediapipe

        picture = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(image_hw3))
        found = self._detector.detect(picture)
        # mediapipe scales depth like x
        scale = np.array([width, height, width], np.float32)
        return [
            Face(
                np.array([(p.x, p.y, p.z) for p in points], np.float32) * scale,
                {s.category_name: float(s.score) for s in scores if s.category_name != "_neutral"},
                np.asarray(pose, np.float32),
            )
            for points, scores, pose in zip(
                found.face_landmarks, found.face_blendshapes, found.facial_transformation_matrixes, strict=True
            )
        ]


def _close(detector: Any) -> None:
    with _quiet():
        detector.close()


def _verified_model() -> bytes:
    try:
        content = MODEL_PATH.read_bytes()
    except OSError as error:
        raise DataError(
            f"landmark model {MODEL_PATH}: {error.strerror}; restore the file from the repository"
        ) from error
    if (digest := hashlib.sha256(content).hexdigest()) != MODEL_SHA256:
        raise DataError(f"landmark model {MODEL_PATH}: sha256 {digest}, expected {MODEL_SHA256}; restore the file")
    return content


_stderr = threading.RLock()  # a detector may be freed, and closed, inside the block
"""Held while stderr is redirected, which concerns the whole process: of two threads, one would restore the other's."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop what native code writes to stderr: its log lines bypass Python and cannot be switched off."""
    with _stderr:
        sys.stderr.flush()
        saved = os.dup(2)
        try:
            with Path(os.devnull).open("w") as sink:
                os.dup2(sink.fileno(), 2)
                yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
