import pytest
import torch
from torch.nn.functional import interpolate, normalize

from mosar.models.head import sample_identity, shape


@pytest.fixture(scope="session")
def make_captures(head):
    """A decoded light-stage batch: random heads with smooth random maps and lights in the right ranges."""

    def make(count, size, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def smooth(channels, low, high):
            coarse = torch.rand(count, channels, 8, 8, generator=generator)
            return interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1) * (high - low) + low

        people = [sample_identity(head, generator) for _ in range(count)]
        mesh = shape(
            head,
            torch.stack([p.archetype_a for p in people]),
            torch.stack([p.mode_m for p in people]),
            torch.zeros(count, len(head.expression_names)),
        )
        tone = torch.rand(count, 1, 1, 1, generator=generator)
        slope = smooth(2, -0.3, 0.3)
        light = 0.2 * torch.randn(count, 81, 3, generator=generator)
        light[:, 0] = 3.0
        grey = {name: smooth(1, low, 1.0) for name, low in (("specular", 0.2), ("ao", 0.5), ("translucency", 0.0))}
        maps = {"diffuse": 0.3 + 0.5 * tone * smooth(3, 0.5, 1.0)} | grey
        return {
            "mesh": mesh.float(),
            "light": light,
            "normal": normalize(torch.cat([slope, torch.ones_like(slope[:, :1])], dim=1), dim=1),
        } | {name: (255 * values).round().to(torch.uint8) for name, values in maps.items()}

    return make
