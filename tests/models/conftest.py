import importlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn.functional import interpolate, normalize

from mosar.config import parse
from mosar.models.camera import Camera, project
from mosar.models.colour import to_srgb
from mosar.models.head import landmarks, sample_identity, shape
from mosar.models.relight import uniform_light
from mosar.models.texture_space import light_normalized, read_maps

RECIPES = Path(__file__).parents[2] / "jobs" / "config" / "recipe"


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


@pytest.fixture(scope="session")
def estimated(head):
    """Captures -> the same with estimates of their pictures that are right but half as bright, and one side unseen."""

    def add(captures):
        shown = light_normalized(read_maps(captures, head))
        seen = torch.full_like(captures["ao"], 255)
        seen[..., : seen.shape[-1] // 3] = 0
        return captures | {
            "unwrapped": (to_srgb(shown.clamp(0, 1)) * 255).round().to(torch.uint8),
            "seen": seen,
            "estimate_ao": captures["ao"],
            "estimate_mesh": captures["mesh"],
            "estimate_light": 2.0 * uniform_light(len(seen)),
            "estimate_eye": torch.tensor([[0.0, 0.0, 1e4]] * len(seen)),
        }

    return add


@pytest.fixture(scope="session")
def untrained_parents(head):
    """Small untrained networks of the stages that a stage requires."""

    def make(stage, map_size):
        found = {}
        for name in stage.requires:
            module = importlib.import_module(f"mosar.models.stages.{name}")
            config = parse(module.Config, yaml.safe_load((RECIPES / name / "tiny.yaml").read_text())["model"])
            found[name] = module.Stage(replace(config, map_size=map_size), head).build({})
        return found

    return make


@pytest.fixture(scope="session")
def photographs(head):
    """(stage ``geometry``, captures) -> a batch of one of its streams: the heads of the captures before noise."""

    def make(stage, captures):
        generator, count, size = torch.Generator().manual_seed(1), len(captures["mesh"]), stage.config.crop_size
        intrinsics = torch.tensor([[3.4 * size, 0.0, size / 2], [0.0, 3.4 * size, size / 2], [0.0, 0.0, 1.0]])
        rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
        camera = Camera(
            intrinsics.expand(count, 3, 3).clone(),
            rotation.expand(count, 3, 3).clone(),
            torch.tensor([[0.0, -30.0, 1100.0]]).expand(count, 3).clone(),
        )
        points = torch.cat([project(camera, landmarks(head, captures["mesh"])), torch.ones(count, 478, 1)], dim=2)
        return {
            "image": torch.randint(0, 256, (count, 3, size, size), generator=generator).byte(),
            "mask": torch.full((count, 1, size, size), 255, dtype=torch.uint8),
            "landmarks": points,
            "detected": points + torch.randn(points.shape, generator=generator),
            "blendshapes": torch.rand(count, 52, generator=generator),
            "found": torch.ones(count, 1),
            "intrinsics": camera.intrinsics_b33,
            "mesh": captures["mesh"],
            "neutral": captures["neutral"],
            "diffuse": torch.randint(60, 200, (count, 3, 64, 64), generator=generator).byte(),
            "specular": torch.randint(60, 200, (count, 1, 64, 64), generator=generator).byte(),
            "rotation": camera.rotation_b33,
            "translation": camera.translation_b3,
            "light": captures["light"],
        }

    return make


@pytest.fixture(scope="session")
def crops():
    """Stage ``segmentation`` -> a batch of two random crops, in one of which no face was found."""

    def make(stage):
        generator, size = torch.Generator().manual_seed(0), stage.config.crop_size
        detected = torch.rand(2, 478, 3, generator=generator) * size
        return {
            "image": torch.randint(0, 256, (2, 3, size, size), generator=generator).byte(),
            "classes": torch.randint(0, 12, (2, 1, size, size), generator=generator).byte(),
            "landmarks": detected + 1.0,
            "detected": detected,
            "found": torch.tensor([1.0, 0.0]),
        }

    return make
