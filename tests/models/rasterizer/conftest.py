import pytest
import torch
import trimesh

from mosar.models.camera import Camera


@pytest.fixture
def sphere():
    """Vertices (V, 3), float64, and triangles of a sphere of radius 100 mm. No edge meets a pixel centre."""
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=100.0)
    return torch.tensor(mesh.vertices) + torch.tensor([0.3, 0.7, 0.1]), torch.tensor(mesh.faces)


@pytest.fixture
def make_camera():
    def make(batch=1, size=(64, 64), focal=150.0, distance=500.0, dtype=torch.float64):
        k = torch.tensor([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]], dtype=dtype)
        angles = 0.4 * torch.arange(batch, dtype=dtype)
        zero, one = torch.zeros_like(angles), torch.ones_like(angles)
        turn = torch.stack([angles.cos(), zero, angles.sin(), zero, one, zero, -angles.sin(), zero, angles.cos()], -1)
        return Camera(
            k.repeat(batch, 1, 1),
            torch.diag(torch.tensor([1.0, -1, -1], dtype=dtype)) @ turn.view(-1, 3, 3),
            torch.tensor([[0, 0, distance]], dtype=dtype).repeat(batch, 1),
        )

    return make
