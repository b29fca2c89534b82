"""Overlap of segmented face crops with the truth, and who wears glasses; see :mod:`.config`."""

from mosar.jobs.evaluation.segmentation.config import Config
from mosar.jobs.evaluation.segmentation.job import evaluate

__all__ = ["Config", "evaluate"]
