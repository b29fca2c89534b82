"""A light as a module, for fits and networks that learn one. The package's functions do the computation."""

import torch
from torch import Tensor, nn

from mosar.models.shading import sh
from mosar.models.shading.light import negative_lobes
from mosar.models.shading.material import SHARPNESS, Material, shade


class Light(nn.Module):
    """Lights with learnt coefficients (B, 81, 3), linear, head frame.

    Environment maps and directional lights are used in the same way: ``Light(sh.from_environment(map_hw3)[None])``,
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
        """The negative part of the light as a loss: :func:`mosar.models.shading.negative_lobes`."""
        return negative_lobes(self.coefficients_blc, self.sharpness)

    @torch.no_grad()
    def turned(self, rotation_b33: Tensor) -> "Light":
        """The same lights after a rotation of the world around the head."""
        return Light(sh.rotate(self.coefficients_blc, rotation_b33), self.sharpness)
