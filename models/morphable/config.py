"""Configuration of the ``morphable`` stage."""

from dataclasses import dataclass
from typing import Literal

from mosar.errors import ConfigError

Residual = Literal["spectral", "linear"]


@dataclass(frozen=True)
class Config:
    """Sizes of the morphable model and weights of its losses.

    Encoder and decoder each have a linear path between codes and principal components of the meshes, plus a non-linear
    residual: ``spectral`` is a perceptron on those components, ``linear`` is none. With ``start: pca`` the decoder's
    linear path starts as PCA, with ``mean`` at zero. On a head with modes of scans their span comes first among the
    components, so that the first codes are those of scanned people.

    Attributes:
        identity_codes: number of identity codes.
        expression_codes: number of expression codes.
        reflectance_codes: number of reflectance codes.
        identity_basis: principal components that a residual may use; at least as many as codes.
        expression_basis: principal components of the expression that a residual may use; at least as many as
            codes.
        encoder: residual of the encoder.
        decoder: residual of the decoder.
        start: start of the decoder's linear path.
        hidden: units of a perceptron's two hidden layers.
        texture_size: texels along a side of the coarse reflectance texture.
        synthetic_per_batch: synthetic people, sampled from the head's own bases, added to every batch.
        synthetic_statistics: synthetic people added to the samples of the principal components.
        synthetic_pool: number of distinct synthetic people from which batches are drawn.
        scanned_share: share of scanned people among the synthetic ones, on a head that has them.
        loss_vertices: vertices sampled for the loss at every step; those of the face have weight one.
        off_face: weight of the other vertices.
        swap_weight: weight of the loss on synthetic people with another person's expression code.
        neutral_weight: weight of the loss on the neutral mesh.
        kl_weight: weight of the codes' divergence from a normal distribution, mm per nat.
    """

    identity_codes: int = 128
    expression_codes: int = 64
    reflectance_codes: int = 64
    identity_basis: int = 224
    expression_basis: int = 128
    encoder: Residual = "spectral"
    decoder: Residual = "spectral"
    start: Literal["pca", "mean"] = "pca"
    hidden: int = 512
    texture_size: int = 64
    synthetic_per_batch: int = 0
    synthetic_statistics: int = 0
    synthetic_pool: int = 16384
    scanned_share: float = 0.75
    loss_vertices: int = 512
    off_face: float = 0.1
    swap_weight: float = 0.5
    neutral_weight: float = 0.5
    kl_weight: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("identity_codes", "expression_codes", "reflectance_codes", "hidden"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name}: got {getattr(self, name)}, expected at least 1")
        for part in ("identity", "expression"):
            codes, basis = getattr(self, f"{part}_codes"), getattr(self, f"{part}_basis")
            if basis < codes:
                raise ConfigError(f"model.{part}_basis: got {basis}, expected at least {part}_codes ({codes})")
        for name in (
            "kl_weight",
            "synthetic_per_batch",
            "synthetic_statistics",
            "off_face",
            "swap_weight",
            "neutral_weight",
        ):
            if getattr(self, name) < 0:
                raise ConfigError(f"model.{name}: got {getattr(self, name)}, expected 0 or more")
        if not 0 <= self.scanned_share <= 1:
            raise ConfigError(f"model.scanned_share: got {self.scanned_share}, expected 0 to 1")
        for name in ("loss_vertices", "synthetic_pool"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name}: got {getattr(self, name)}, expected at least 1")
