"""Stage ``intrinsics``: splits a light-normalised texture into diffuse, specular, occlusion and translucency."""

from mosar.models.stages.intrinsics.config import Config
from mosar.models.stages.intrinsics.network import Intrinsics
from mosar.models.stages.intrinsics.stage import Stage

__all__ = ["Config", "Intrinsics", "Stage"]
