from dataclasses import replace

import numpy as np
import pytest
import torch

from mosar.avatar import Avatar
from mosar.models.head import load_head, sample_identity
from mosar.models.head.expression_model import express
from mosar.models.head.morph import neutral
from mosar.models.preview import frontal_camera
from mosar.models.reconstruct.blendshapes import expression_weights
from mosar.models.reconstruct.estimate import Maps

SIZE, WIDTH = 64, 160


@pytest.fixture(scope="session")
def avatar() -> Avatar:
    """The template under uniform light, with random albedo and flat normals."""
    head = load_head()
    vertices = torch.tensor(head.template_v3)[None]
    generator = torch.Generator().manual_seed(0)
    diffuse = 0.3 + 0.2 * torch.rand(1, 3, SIZE, SIZE, generator=generator)
    one = torch.ones(1, 1, SIZE, SIZE)
    normal = torch.cat([0.0 * one, 0.0 * one, one], dim=1)
    camera = frontal_camera(1, WIDTH, torch.device("cpu"))
    light = torch.zeros(1, 81, 3)
    light[:, 0] = 3.5449077  # radiance one
    maps = Maps(diffuse, 0.35 * one, one, 0.2 * one, normal, one)
    photograph = np.zeros((WIDTH, WIDTH, 3), np.uint8)
    expression, timings = {"jawOpen": 0.0}, {"total": 1.0}
    return Avatar(
        head=head,
        vertices_1v3=vertices,
        neutral_1v3=vertices,
        maps=maps,
        eyes_hw3=head.eyes_albedo_hw3,
        mouth_hw3=head.mouth_albedo_hw3,
        tone={"albedo": 0.2, "low": 0.15, "high": 0.25},
        camera=camera,
        light_1lc=light,
        expression=expression,
        width=WIDTH,
        height=WIDTH,
        bundle_digest="0" * 64,
        timings_s=timings,
        photograph_hw3=photograph,
    )


@pytest.fixture(scope="session")
def smiling(avatar: Avatar) -> Avatar:
    """A random person who smiles with an open mouth, and whose mesh the targets cannot show exactly."""
    head, generator = avatar.head, torch.Generator().manual_seed(1)
    person = sample_identity(head, generator)
    rest = neutral(head, person.archetype_a[None], person.mode_m[None])
    weights = torch.zeros(1, len(head.expression_names))
    for name, weight in {"jawOpen": 0.6, "mouthSmileLeft": 0.8, "mouthSmileRight": 0.7, "eyeBlinkLeft": 0.3}.items():
        weights[0, head.expression_names.index(name)] = weight
    mesh = express(head, rest, weights)
    return replace(avatar, vertices_1v3=mesh, neutral_1v3=rest, expression=expression_weights(head, mesh, rest))
