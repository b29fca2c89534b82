"""The head's chart and landmarks, with pictures of people, expressions, chart and landmarks to look at.

The landmarks are measured on people and views that were not used for embedding them: distances are between where the
embedded point is seen and where the detector sees it, in mm at the point's depth.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from mosar.datasets import embedding, head_pictures
from mosar.errors import ConfigError
from mosar.models.head import load_head
from mosar.models.head.measure import chart_metrics
from mosar.platform import storage


@dataclass(frozen=True)
class Config:
    """Attributes:

    head: another head file than the default.
    views: renders of held-out people.
    seed: of those people; the default is far from that of the embedding.
    pictures: write them too.
    storage: root below which ``evaluations/head/*.png`` is written; else MOSAR_STORAGE, else ~/.mosar.
    """

    head: str | None = None
    views: int = 60
    seed: int = 1_000_000
    pictures: bool = True
    storage: str | None = None

    def __post_init__(self) -> None:
        if self.views < 1:
            raise ConfigError(f"views: got {self.views}, expected at least 1")


def evaluate(config: Config) -> dict[str, Any]:
    """Metrics by name; all are lower-is-better but ``uv_face_share`` and ``landmarks_embedded``."""
    head = load_head(config.head)
    views = embedding.detect_views(head, config.views, config.seed)
    distance_bl = embedding.distances(head, views)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # points that are not embedded, or never seen, have no median
        median_l = np.nanmedian(distance_bl, 0)
    metrics: dict[str, Any] = {
        **chart_metrics(head),
        "landmarks_embedded": int((head.landmark_triangle_l >= 0).sum()),
        "landmark_median_mm": float(np.nanmedian(median_l)),
        "landmark_p90_mm": float(np.nanpercentile(median_l, 90)),
        "landmark_missed_renders": views.missed,
    }
    if config.pictures:
        root = storage.root(config.storage)
        for name, png in head_pictures.draw(head, views).items():
            storage.write_bytes(storage.join(root, "evaluations", "head", f"{name}.png"), png)
    return metrics
