"""Stage ``morphable``: the non-linear morphable model."""

from mosar.models.morphable.config import Config
from mosar.models.stages.morphable.stage import Stage

__all__ = ["Config", "Stage"]
