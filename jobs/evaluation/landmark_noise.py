"""Tune the noise of the yardstick ``landmark_fit`` on people of the validation split of a data set with truth.

``best`` is the noise (a share of the distance of the outer eye corners) with the least mean error of the neutral mesh;
``neutral_vertex_mm`` lists the error for each noise, ``average_mm`` that of the average head. The constant is kept in
jobs/evaluation/avatar/landmark_fit.py, and is tuned again when the released morphable model changes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mosar.datasets.landmarks import Detector
from mosar.errors import ConfigError
from mosar.jobs.evaluation.avatar import shape
from mosar.jobs.evaluation.avatar.landmark_fit import fit_landmarks
from mosar.jobs.evaluation.avatar.prior import load_prior
from mosar.jobs.evaluation.avatar.truth import places, read_captures
from mosar.models.head import load_head
from mosar.platform import storage
from mosar.platform.data.manifest import open_manifest

NOISES = (0.004, 0.008, 0.016, 0.032, 0.064, 0.128)


@dataclass(frozen=True)
class Config:
    """Attributes:

    set: name of the data set below ``data/`` of the storage root.
    split: split of the people.
    people: number of people; the first capture in which the detector finds them counts.
    head: head file to use instead of the default.
    storage: storage root; default: MOSAR_STORAGE, else ~/.mosar.
    """

    set: str = "virtual-cpu"
    split: str = "validation"
    people: int = 20
    head: str | None = None
    storage: str | None = None

    def __post_init__(self) -> None:
        if self.people < 1:
            raise ConfigError(f"people: got {self.people}, expected at least 1")


def evaluate(config: Config) -> dict[str, Any]:
    """Return the best noise, and the errors."""
    head = load_head(config.head)
    prior = load_prior(head)
    location = storage.join(storage.root(config.storage), "data", config.set)
    errors: dict[str, list[float]] = {}
    average: list[float] = []
    with Detector() as detector:
        for where in places(open_manifest(location), config.split):
            (capture,) = read_captures(location, [where], head)
            faces = detector.detect(capture.photograph_hw3) if capture.subject not in errors else []
            if len(errors) == config.people or len(faces) != 1:
                continue
            true, image = shape.array(capture.truth.neutral_1v3), capture.photograph_hw3
            (height, width), points = image.shape[:2], faces[0].landmarks[:, :2]
            fits = [fit_landmarks(prior, points, height, width, noise) for noise in NOISES]
            errors[capture.subject] = [shape.vertex_mm(head, shape.array(fit.neutral_1v3), true) for fit in fits]
            average.append(shape.vertex_mm(head, shape.array(prior.neutral_1v3), true))
    if not errors:
        raise ConfigError(f"set: the detector finds nobody in {location}, split {config.split}")
    mean = np.mean(list(errors.values()), axis=0)
    return {
        "best": NOISES[int(mean.argmin())],
        "people": len(errors),
        "average_mm": float(np.mean(average)),
        "neutral_vertex_mm": {f"{noise:g}": round(float(mm), 4) for noise, mm in zip(NOISES, mean, strict=True)},
    }
