"""Configuration of the ``geometry`` stage."""

from dataclasses import dataclass, fields

from mosar.errors import ConfigError
from mosar.models.stages.limits import at_least


@dataclass(frozen=True)
class Config:
    """Sizes of the networks and weights of the losses.

    Attributes:
        points: whether the detector's points are an input.
        image: whether the crop is an input.
        projected: whether captures give the true points, projected, in place of the detected ones, as most methods
            train. Inference sees detected points, so this is for comparison only: it leaves 0.93 of the average head's
            error in place of 0.82.
        components: principal components of the aligned points.
        hidden: units of the perceptron on them.
        width: channels of the first level of the crop's backbone.
        blocks: residual blocks of its four levels.
        crop_size: side of the face crop, pixels.
        render_size: side of the pictures of the photometric loss, pixels.
        labelled: share of light-stage samples in a batch.
        assumed: share of the labelled samples whose camera is assumed, as that of most photographs.
        code_weight: weight of the codes' negative log likelihood, per code.
        vertex_weight: weight of the vertices' distance, per mm.
        normal_weight: weight of one minus the cosine between the normals.
        pose_weight: weight of the pose's error, in units of its deviation.
        light_weight: weight of the error of the light's coefficients, in units of their deviations.
        reflectance_weight: weight of the squared error of the reflectance code, each code by its share of the variance.
        photometric_weight: weight of the difference between render and photograph.
        landmark_weight: weight of the squared distance of the landmarks under the joint error model, per coordinate.
        score_weight: weight of the error of the expression's scores.
        negative_weight: weight of negative light.
        prior_weight: weight of the squared codes of photographs, per code.
        trim: share of the photometric residuals of each photograph to ignore, largest first (beards, wrinkles, hair).
    """

    points: bool = True
    image: bool = True
    projected: bool = False
    components: int = 96
    hidden: int = 512
    width: int = 32
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    crop_size: int = 192
    render_size: int = 96
    labelled: float = 0.75
    assumed: float = 0.7
    code_weight: float = 1.0
    vertex_weight: float = 0.2
    normal_weight: float = 1.0
    pose_weight: float = 0.3
    light_weight: float = 0.1
    reflectance_weight: float = 0.3
    photometric_weight: float = 1.0
    landmark_weight: float = 0.05
    score_weight: float = 0.5
    negative_weight: float = 1.0
    prior_weight: float = 0.05
    trim: float = 0.1

    def __post_init__(self) -> None:
        if not (self.points or self.image):
            raise ConfigError("model.points, image: got false for both, expected at least one input")
        if not 0.0 < self.labelled < 1.0:
            raise ConfigError(f"model.labelled: got {self.labelled}, expected a share between 0 and 1")
        for name in ("trim", "assumed"):
            if not 0.0 <= getattr(self, name) <= 1.0 - 0.01 * (name == "trim"):
                raise ConfigError(f"model.{name}: got {getattr(self, name)}, expected a share in [0, 1]")
        if self.crop_size < 32 or self.render_size < 16:
            got = (self.crop_size, self.render_size)
            raise ConfigError(f"model.crop_size, render_size: got {got}, expected at least (32, 16)")
        if min(self.components, self.hidden, self.width) < 1:
            raise ConfigError("model.components, hidden, width: expected at least 1 each")
        at_least(self, 0, *(each.name for each in fields(self) if each.name.endswith("_weight")))
