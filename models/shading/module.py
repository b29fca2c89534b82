"""A light as a module: for fits and networks that learn one. The maths is in the package's functions."""

import torch
from torch import Tensor, nn

from mosar.models.shading import sh
from mosar.models.shading.light import negative_lobes
from mosar.models.shading.material import SHARPNESS, Material, shade


class Light(nn.Module):
    """Lights whose coefficients (B, 81, 3), linear, head frame, are learnt.

    Environment maps and directional lights enter alike: ``Light(sh.from_environment(map_hw3)[None])``,
    ``Light(sh.directional(direction_b3, colour_b3))``, or their sum.

    Raises:
        ValueError: the coefficients have another shape.
    """

    def __init__(self, coefficients_blc: Tensor, sharpness: float = SHARPNESS) -> None:
        super().__init__()
        if coefficients_blc.ndim != 3 or coefficients_blc.shape[1:] != (sh.BANDS**2, 3):
            raise ValueError(f"Light: got coefficients {tuple(coefficients_blc.shape)}; expected (B, {sh.BANDS**2}, 3)")
        self.sharpness = sharpness
        self.coefficients_blc = nn.Parameter(coefficients_blc.detach().clone())

    def forward(self, material: Material, normals: Tensor, views: Tensor, image_n: Tensor | None = None) -> Tensor:
        """Radiance towards the viewer: :func:`mosar.models.shading.shade`."""
        return shade(material, normals, views, self.coefficients_blc, image_n, self.sharpness)

    def negative(self) -> Tensor:
        """What of it is negative, as a loss: :func:`mosar.models.shading.negative_lobes`."""
        return negative_lobes(self.coefficients_blc, self.sharpness)

    @torch.no_grad()
    def turned(self, rotation_b33: Tensor) -> "Light":
        """The same lights after the world around the head was turned."""
        return Light(sh.rotate(self.coefficients_blc, rotation_b33), self.sharpness)
