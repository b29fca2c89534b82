"""sRGB (IEC 61966-2-1). Colour is linear inside the project, sRGB only in inputs and outputs."""

from torch import Tensor, where

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Luminance of linear red, green and blue: the primaries of ITU-R BT.709, which sRGB shares."""


def to_linear(srgb: Tensor) -> Tensor:
    """Decode sRGB values in [0, 1], any shape, to linear values. The linear branch extends below zero."""
    return where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Tensor) -> Tensor:
    """Encode linear values, any shape, as sRGB; [0, 1] maps to [0, 1]. Nothing is clipped."""
    return where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def luminance(linear_b3hw: Tensor) -> Tensor:
    """Luminance (b, 1, h, w) of linear RGB maps."""
    return (linear_b3hw * linear_b3hw.new_tensor(LUMINANCE)[:, None, None]).sum(dim=1, keepdim=True)
