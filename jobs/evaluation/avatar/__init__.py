"""Yardsticks on whole avatars: ``python jobs/evaluate.py what=avatar``; see :mod:`.config`."""

from mosar.jobs.evaluation.avatar.config import Config
from mosar.jobs.evaluation.avatar.job import evaluate

__all__ = ["Config", "evaluate"]
