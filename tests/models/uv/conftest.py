import dataclasses

import numpy as np
import pytest
import torch

from mosar.models.camera import Camera
from mosar.models.head import Head


@pytest.fixture(scope="session")
def dome():
    """A small head: a bulging square sheet of skin, 200 mm wide; its chart fills the middle of the unit square."""
    n = 21
    u, v = np.meshgrid(np.linspace(0.1, 0.9, n), np.linspace(0.1, 0.9, n))
    x, y = (u - 0.5) * 250, (v - 0.5) * 250
    vertices = np.stack([x, y, 40 - (x**2 + y**2) / 300], -1).reshape(-1, 3).astype(np.float32)
    first = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).reshape(-1)
    triangles = np.concatenate(
        [np.stack([first, first + 1, first + n + 1], -1), np.stack([first, first + n + 1, first + n], -1)]
    ).astype(np.int64)
    # One more triangle belongs to the eyes: it lies behind the skin and has its own chart.
    vertices = np.concatenate([vertices, np.array([[-5, -5, -80], [5, -5, -80], [0, 5, -80]], np.float32)])
    triangles = np.concatenate([triangles, [[n * n, n * n + 1, n * n + 2]]])
    uv = np.concatenate([np.stack([u, v], -1).reshape(-1, 2), [[0, 0], [1, 0], [0.5, 1]]]).astype(np.float32)
    values = dict.fromkeys((f.name for f in dataclasses.fields(Head)), np.zeros(0))
    values |= {
        "name": "dome", "digest": "dome", "material_names": ("skin", "eyes", "mouth"), "template_v3": vertices,
        "triangles_f3": triangles, "uv_triangles_f3": triangles, "uv_w2": uv,
        "material_f": np.array([0] * (len(triangles) - 1) + [1]),
    }  # fmt: skip
    return Head(**values)


@pytest.fixture
def front():
    """Two cameras for pictures of 128 x 160: one frontal, one slightly to the side."""
    k = torch.tensor([[300.0, 0, 80], [0, 300, 64], [0, 0, 1]], dtype=torch.float64).repeat(2, 1, 1)
    angle = torch.tensor([0.0, 0.3], dtype=torch.float64)
    zero, one = torch.zeros(2).double(), torch.ones(2).double()
    turn = torch.stack([angle.cos(), zero, angle.sin(), zero, one, zero, -angle.sin(), zero, angle.cos()], -1)
    return Camera(
        k,
        torch.diag(torch.tensor([1.0, -1, -1])).double() @ turn.view(2, 3, 3),
        torch.tensor([[0.0, 0, 600]] * 2).double(),
    )
