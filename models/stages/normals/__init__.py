"""Stage ``normals``: tangent-space normals from a light-normalised texture."""

from mosar.models.stages.normals.config import Config
from mosar.models.stages.normals.stage import Stage

__all__ = ["Config", "Stage"]
