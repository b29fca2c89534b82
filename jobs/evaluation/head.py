"""Evaluate the head's UV chart and landmarks; writes sheets of people, expressions, chart and landmarks.

Landmarks are measured on people that were not used to embed them, each with an expression and in several views.
``landmark_median_mm`` is the distance of the embedded point from the detected point, after averaging over the views of
a person: the error of the embedding without the detector's noise from view to view. ``landmark_view_mm`` is the same
distance in single views, noise included. Both are measured in the image plane at the point's depth; they are medians
over people, then over points. ``lid_in_eye_mm_p99`` and ``lip_gap_mm`` are those of
:mod:`mosar.datasets.head_building.contact_metrics`. The figures of the morphable model are those of
``what=morphable_model`` and ``what=scanned_people``.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from mosar.datasets.head_building import landmark_embedding, sheets
from mosar.datasets.head_building.contact_metrics import contact_metrics
from mosar.datasets.head_building.uv_metrics import chart_metrics
from mosar.errors import ConfigError
from mosar.jobs.evaluation import morphable_model, scanned_people
from mosar.models.head import load_head
from mosar.platform import storage


@dataclass(frozen=True)
class Config:
    """Attributes:

    head: head file to use instead of the default.
    people: number of held-out people.
    views: renders of each person.
    seed: seed of these people; the default is far from the seed of the embedding.
    pictures: also write the sheets.
    model: also measure a morphable model on this head.
    weights: name of the finished run of that model; by default the shipped model.
    scans: file or folder of scans that the head was registered to; default: MOSAR_SCANS.
    captures: textured captures from which people are found; 0 leaves these metrics out.
    storage: root below which ``evaluations/head/*.png`` is written; default: MOSAR_STORAGE, else ~/.mosar.
    """

    head: str | None = None
    people: int = 24
    views: int = 4
    seed: int = 1_000_000
    pictures: bool = True
    model: bool = True
    weights: str | None = None
    scans: str | None = None
    captures: int = 200
    storage: str | None = None

    def __post_init__(self) -> None:
        if min(self.people, self.views) < 1:
            raise ConfigError(f"got people {self.people} and views {self.views}, expected at least 1 of each")


def evaluate(config: Config) -> dict[str, Any]:
    """Return the metrics by name; lower is better, except for ``uv_face_share`` and ``landmarks_embedded``."""
    head = load_head(config.head)
    scanned = scanned_people.Config(
        scans=config.scans,
        weights=config.weights,
        head=config.head,
        captures=config.captures,
        storage=config.storage,
    )
    scans = scanned_people.scans_of(scanned) if config.model else None  # what cannot be read is reported at once
    views = landmark_embedding.detect_views(head, config.people, config.seed, config.views)
    residual_bl2 = landmark_embedding.residuals(head, views)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # points that are not embedded or never detected have no median
        person_pl2 = np.stack([np.nanmean(residual_bl2[views.person_b == p], 0) for p in np.unique(views.person_b)])
        person_l, view_l = (np.nanmedian(np.linalg.norm(r, axis=-1), 0) for r in (person_pl2, residual_bl2))
    metrics: dict[str, Any] = {
        **chart_metrics(head),
        "landmarks_embedded": int((head.landmark_triangle_l >= 0).sum()),
        "landmark_median_mm": float(np.nanmedian(person_l)),
        "landmark_p90_mm": float(np.nanpercentile(person_l, 90)),
        "landmark_view_mm": float(np.nanmedian(view_l)),
        "landmark_missed_renders": views.missed,
        **contact_metrics(head),
    }
    if config.pictures:
        root = storage.root(config.storage)
        for name, png in sheets.head_sheets(head, views).items():
            storage.write_bytes(storage.join(root, "evaluations", "head", f"{name}.png"), png)
    if config.model:
        wanted = morphable_model.Config(weights=config.weights, head=config.head, storage=config.storage)
        metrics |= morphable_model.evaluate(wanted)
        metrics |= scanned_people.measure(scanned, scans)
    return metrics
