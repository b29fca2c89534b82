import pytest
import torch


@pytest.fixture(scope="session")
def sample(head):
    """Two captures of the template with constant maps under a light from the front."""
    size = 48
    values = {"diffuse": 188, "specular": 90, "ao": 200, "translucency": 60}
    maps = {
        name: torch.full((2, 3 if name == "diffuse" else 1, size, size), value, dtype=torch.uint8)
        for name, value in values.items()
    }
    normal = torch.zeros(2, 3, size, size)
    normal[:, 2] = 1
    mesh = torch.tensor(head.template_v3).expand(2, -1, -1).contiguous()
    return {"mesh": mesh, "normal": normal} | maps
