"""Stage ``segmentation``: tells skin, hair, glasses, hands, cloth and background apart in a face crop."""

from mosar.models.stages.segmentation.config import Config
from mosar.models.stages.segmentation.stage import Stage

__all__ = ["Config", "Stage"]
