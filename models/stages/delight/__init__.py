"""Stage ``delight``: removes the light from a texture."""

from mosar.models.stages.delight.config import Config
from mosar.models.stages.delight.stage import Stage

__all__ = ["Config", "Stage"]
