"""Configuration of the ``geometry`` stage."""

from dataclasses import dataclass, fields

from mosar.errors import ConfigError


@dataclass(frozen=True)
class Config:
    """Sizes of the parameter encoder and weights of its losses."""

    width: int = 32  # channels of the backbone's first level
    blocks: tuple[int, ...] = (2, 2, 2, 2)  # residual blocks of the four levels
    crop_size: int = 192  # pixels of the face crop
    render_size: int = 96  # pixels of the photometric loss
    landmarks: bool = True  # use the detector's points as a second input
    labelled: float = 0.5  # share of light-stage samples in a batch
    photometric_weight: float = 1.9
    landmark_weight: float = 1.6e-3  # of squared pixels of a 224-pixel crop
    vertex_weight: float = 0.2  # of millimetres
    normal_weight: float = 1.0
    rotation_weight: float = 2.0
    light_weight: float = 0.1
    negative_weight: float = 1.0
    laplacian_weight: float = 0.02
    code_weight: float = 3e-4
    trim: float = 0.1  # share of the photometric residuals to ignore, largest first (glasses, beards, hair)

    def __post_init__(self) -> None:
        if not 0.0 < self.labelled < 1.0:
            raise ConfigError(f"model.labelled: got {self.labelled}, expected a share between 0 and 1")
        if not 0.0 <= self.trim < 1.0:
            raise ConfigError(f"model.trim: got {self.trim}, expected a share in [0, 1)")
        if self.crop_size < 32 or self.render_size < 16:
            got = (self.crop_size, self.render_size)
            raise ConfigError(f"model.crop_size, render_size: got {got}, expected at least (32, 16)")
        for name in (each.name for each in fields(self) if each.name.endswith("_weight")):
            if getattr(self, name) < 0:
                raise ConfigError(f"model.{name}: got {getattr(self, name):g}, expected 0 or more")
