"""Stage ``completion``: fills what one photograph does not show of the skin's texture."""

from mosar.models.stages.completion.config import Config
from mosar.models.stages.completion.stage import Stage

__all__ = ["Config", "Stage"]
