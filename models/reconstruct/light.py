"""The light of a photograph, given the avatar's reflectance: a small least-squares problem."""

import math

import torch
from torch import Tensor

from mosar.models.shading import Material, irradiance, shade

LOW_BANDS = 9  # coefficients of bands 0 to 2, which carry 99 % of irradiance
_RIDGE = 0.02


def solve_light(
    material: Material, normals_1n3: Tensor, views_1n3: Tensor, observed_1n3: Tensor, prior_1lc: Tensor
) -> Tensor:
    """Light (1, 81, 3) whose shading is nearest to the observed linear colours; starts from, and stays near, ``prior``.

    Only bands 0 to 2 change: the diffuse picture hardly depends on the others.
    """
    residual = observed_1n3 - shade(material, normals_1n3, views_1n3, prior_1lc)
    basis_n9 = irradiance_basis(normals_1n3[0])
    found = prior_1lc.clone()
    for channel in range(3):
        columns = (material.diffuse[0, :, channel : channel + 1] * material.ao[0] / math.pi) * basis_n9
        gram = columns.T @ columns
        gram = gram + _RIDGE * gram.diagonal().mean() * torch.eye(LOW_BANDS, device=gram.device)
        found[0, :LOW_BANDS, channel] += torch.linalg.solve(gram, columns.T @ residual[0, :, channel])
    return found


def irradiance_basis(normals_n3: Tensor) -> Tensor:
    """Irradiance (n, 9) at the normals of each of the first nine coefficients alone."""
    unit = torch.zeros(LOW_BANDS, 81, 3, device=normals_n3.device)
    unit[torch.arange(LOW_BANDS), torch.arange(LOW_BANDS)] = 1.0
    return irradiance(unit, normals_n3[None].expand(LOW_BANDS, -1, -1))[..., 0].T
