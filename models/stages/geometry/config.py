"""Configuration of the ``geometry`` stage."""

from dataclasses import dataclass, fields

from mosar.errors import ConfigError


@dataclass(frozen=True)
class Config:
    """Sizes of the parameter encoder and weights of its losses.

    Attributes:
        width: channels of the backbone's first level.
        blocks: residual blocks of the four levels.
        crop_size: side of the face crop, pixels.
        render_size: side of the pictures of the photometric loss, pixels.
        landmarks: whether the detector's points are a second input.
        labelled: share of light-stage samples in a batch.
        photometric_weight: weight of the difference between render and photograph.
        landmark_weight: weight of the landmarks' squared distance in a 224-pixel crop, per square pixel.
        vertex_weight: weight of the vertices' distance, per mm.
        normal_weight: weight of one minus the cosine between the normals.
        rotation_weight: weight of the squared error of the rotation matrix.
        light_weight: weight of the error of the light's coefficients.
        negative_weight: weight of negative light.
        laplacian_weight: weight of the smoothness of the mesh.
        code_weight: weight of the codes' squared length.
        trim: share of the photometric residuals to ignore, largest first (glasses, beards, hair).
    """

    width: int = 32
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    crop_size: int = 192
    render_size: int = 96
    landmarks: bool = True
    labelled: float = 0.5
    photometric_weight: float = 1.9
    landmark_weight: float = 1.6e-3
    vertex_weight: float = 0.2
    normal_weight: float = 1.0
    rotation_weight: float = 2.0
    light_weight: float = 0.1
    negative_weight: float = 1.0
    laplacian_weight: float = 0.02
    code_weight: float = 3e-4
    trim: float = 0.1

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
