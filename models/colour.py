"""The sRGB transfer function (IEC 61966-2-1). Inside the project colour is linear; sRGB lives at the edges only."""

from torch import Tensor, where


def to_linear(srgb: Tensor) -> Tensor:
    """sRGB-encoded values in [0, 1], any shape, as linear values. Below zero the linear branch goes on."""
    return where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Tensor) -> Tensor:
    """Linear values, any shape, sRGB-encoded; [0, 1] to [0, 1]. Nothing is clipped."""
    return where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)
