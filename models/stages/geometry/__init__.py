"""Stage ``geometry``: the semi-supervised parameter encoder."""

from mosar.models.stages.geometry.config import Config
from mosar.models.stages.geometry.stage import Stage

__all__ = ["Config", "Stage"]
