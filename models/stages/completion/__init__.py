"""Stage ``completion``: fills the part of the skin's texture that one photograph does not show."""

from mosar.models.stages.completion.config import Config
from mosar.models.stages.completion.stage import Stage

__all__ = ["Config", "Stage"]
