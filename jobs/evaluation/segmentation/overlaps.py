"""Intersection over union of groups of classes, over all pixels of a data set."""

import numpy as np
from numpy.typing import NDArray

from mosar.datasets import schema
from mosar.models.face_classes import CLASSES
from mosar.models.stages.segmentation.stage import GROUPS


class Overlaps:
    """Sums of intersections and unions, which grow with every picture."""

    def __init__(self) -> None:
        self._both = dict.fromkeys(GROUPS, 0)
        self._either = dict.fromkeys(GROUPS, 0)

    def add(self, found_hw: NDArray[np.integer], truth_hw: NDArray[np.integer]) -> None:
        """Add a picture's class numbers; pixels whose true class is unknown are left out."""
        known = truth_hw != schema.UNKNOWN
        for name, classes in GROUPS.items():
            numbers = [CLASSES.index(c) for c in classes]
            found, truth = np.isin(found_hw, numbers) & known, np.isin(truth_hw, numbers) & known
            self._both[name] += int((found & truth).sum())
            self._either[name] += int((found | truth).sum())

    def metrics(self, ending: str = "") -> dict[str, float | None]:
        """``iou_GROUP`` of each group; None if it is in no picture."""
        return {
            f"iou_{name}{ending}": self._both[name] / either if either else None
            for name, either in self._either.items()
        }
