"""Strong augmentation of face crops, on the device of the batch. Colours sRGB-encoded in [0, 1].

Virtual people have other noise, light and backgrounds than photographs; a network must not learn to know them by these.
Shapes: b batch, h w pixels.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate


def swap_backgrounds(image_b3hw: Tensor, behind_b1hw: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Replace the pixels of ``behind`` (0 or 1) in a share of the crops by other crops, colours or gradients."""
    count, _, height, width = image_b3hw.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=generator.device).to(image_b3hw)

    order = torch.randperm(count, generator=generator, device=generator.device).to(image_b3hw.device)
    zoom = 2 if height >= 64 else 1
    other = image_b3hw[order].flip(-1)
    corner = other[..., : height // zoom, : width // zoom]
    magnified = interpolate(corner, size=(height, width), mode="bilinear", align_corners=False)
    cells = interpolate(uniform(count, 3, 3, 3), size=(height, width), mode="bilinear", align_corners=True)
    grey = cells.mean(dim=1, keepdim=True).expand_as(cells)
    gradient = torch.lerp(grey, cells, uniform(count, 1, 1, 1)) * (0.3 + 0.9 * uniform(count, 1, 1, 1))
    kind = uniform(count, 1, 1, 1)
    new = torch.where(kind < 0.35, magnified, torch.where(kind < 0.5, other, gradient)).clamp(0.0, 1.0)
    chosen = (uniform(count, 1, 1, 1) < share) * behind_b1hw
    return torch.lerp(image_b3hw, new, chosen)


def fade(image_b3hw: Tensor, part_b1hw: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Let the pixels of ``part`` (0 or 1) come near the colours around them in a share of the crops.

    Brown frames on brown skin and thin bright ones hardly differ from what is behind them.
    """
    count, side = len(image_b3hw), 2 * max(1, image_b3hw.shape[-1] // 24) + 1

    def smooth(maps: Tensor) -> Tensor:
        return avg_pool2d(maps, side, stride=1, padding=side // 2)

    others = smooth(1.0 - part_b1hw)
    around = smooth(image_b3hw * (1.0 - part_b1hw)) / others.clamp_min(0.5 / side**2)
    chosen, strength = torch.rand(2, count, 1, 1, 1, generator=generator, device=generator.device).to(image_b3hw)
    return torch.lerp(image_b3hw, around, (chosen < share) * 0.85 * strength * part_b1hw * (others > 0))


def photometric(image_b3hw: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change exposure, contrast, white balance, saturation, sharpness and noise, each crop in its own way."""
    count = len(image_b3hw)

    def normal(deviation: float, *shape: int) -> Tensor:
        values = torch.randn(count, *shape, generator=generator, device=generator.device).to(image_b3hw)
        return strength * deviation * values

    def uniform() -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=generator, device=generator.device).to(image_b3hw)

    image = image_b3hw.clamp_min(1e-3) ** normal(0.25, 1, 1, 1).exp()
    image = image * (normal(0.15, 1, 1, 1) + normal(0.08, 3, 1, 1)).exp()
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    image = mean + (image - mean) * normal(0.2, 1, 1, 1).exp()
    grey = image.mean(dim=1, keepdim=True)
    colourless = uniform() < 0.08
    saturation = torch.where(colourless, torch.zeros_like(grey[..., :1, :1]), normal(0.25, 1, 1, 1).exp())
    image = grey + (image - grey) * saturation
    # One light from the side or above: half of the virtual people stand in even light.
    height, width = image.shape[-2:]
    ramp = torch.linspace(-1.0, 1.0, max(height, width), device=image.device)
    across, down = ramp[:width], ramp[:height, None]
    image = image * (normal(0.12, 1, 1, 1) * across + normal(0.12, 1, 1, 1) * down).exp()
    blurred = avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False)
    image = torch.lerp(image, blurred, 1.6 * uniform() - 0.3)
    coarse = interpolate(image, scale_factor=0.5, mode="area")
    coarse = interpolate(coarse, size=image.shape[-2:], mode="bilinear", align_corners=False)
    image = torch.where(uniform() < 0.2, coarse, image)
    noise = torch.randn(image.shape, generator=generator, device=generator.device).to(image)
    return (image + strength * 0.03 * uniform() * noise).clamp(0.0, 1.0)
