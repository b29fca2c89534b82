"""The shade of lids on the eyeballs, on the map of the eyes.

Lids hide most of the light from the whites of the eyes beside them; without that shade eyes look like paper. Both
eyeballs share the map, so it has the mean shade of both. Shapes: s texels a side.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from mosar.models.head import Head, occlusion, vertex_normals
from mosar.models.uv import Chart, chart_of
from mosar.models.uv import interpolate as at_texels

_TEXELS = 96  # a side of the map on which light is looked for
_DIRECTIONS = 192
_SHOWN = 0.15  # openness above which a texel counts as shown between the lids
_LEAST = 0.15  # of the light of what is shown


def lid_shade(head: Head, mesh_1v3: Tensor) -> Tensor:
    """Light (1, 1, s, s) that reaches the eyeballs, relative to the brighter half of what is shown between the lids.

    It is 1 everywhere if the eyes are closed.
    """
    mesh = mesh_1v3[0].cpu().numpy().astype(np.float64)
    triangles = torch.tensor(head.triangles_f3)
    of_vertices = torch.cat([mesh_1v3.cpu(), vertex_normals(mesh_1v3.cpu(), triangles)], dim=2)
    openings = []
    for eye in _eyes(head):
        points, normals = at_texels(eye, triangles, of_vertices).split(3, dim=1)
        inside = (eye.triangle_hw >= 0) & (normals[0, 2] > 0)  # nothing shows the back of an eyeball
        at, outward = (m[0, :, inside].T.numpy().astype(np.float64) for m in (points, normalize(normals, dim=1)))
        opening = torch.zeros(1, 1, _TEXELS, _TEXELS)
        opening[0, 0, inside] = torch.from_numpy(occlusion.openness_at(head, mesh, at, outward, _DIRECTIONS))
        openings.append(avg_pool2d(opening, 3, stride=1, padding=1))
    open_11ss = torch.stack(openings).mean(dim=0)
    shown = open_11ss[open_11ss > _SHOWN]
    if not len(shown):
        return torch.ones_like(open_11ss).to(mesh_1v3)
    brighter = shown[shown >= shown.median()].mean()
    return (open_11ss / brighter).clamp_min(_LEAST).to(mesh_1v3)


@lru_cache(maxsize=4)
def _eyes(head: Head) -> tuple[Chart, Chart]:
    """The charts of both eyeballs."""
    of_eyes = head.material_f == head.material_names.index("eyes")
    left = head.template_v3[head.triangles_f3].mean(axis=1)[:, 0] > 0
    return chart_of(head, _TEXELS, of_eyes & left), chart_of(head, _TEXELS, of_eyes & ~left)
