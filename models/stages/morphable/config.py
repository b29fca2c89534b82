"""Configuration of the ``morphable`` stage."""

from dataclasses import dataclass

from mosar.errors import ConfigError


@dataclass(frozen=True)
class Config:
    """Sizes of the morphable model and weights of its losses."""

    identity_codes: int = 64
    expression_codes: int = 64
    reflectance_codes: int = 64
    width: int = 16  # channels of the first convolution; the second has twice as many
    order: int = 6  # Chebyshev order K
    pooled: int = 8  # vertices that each part is pooled to before its latents
    decoder_vertices: int = 128
    texture_size: int = 64  # of the coarse reflectance texture
    kl_weight: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("identity_codes", "expression_codes", "reflectance_codes", "width", "order", "pooled"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name}: got {getattr(self, name)}, expected at least 1")
        if self.kl_weight < 0:
            raise ConfigError(f"model.kl_weight: got {self.kl_weight}, expected 0 or more")
