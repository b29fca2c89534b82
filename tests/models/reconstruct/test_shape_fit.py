"""The whole fit of a shape on a picture of a known person."""

import math
from dataclasses import replace

import pytest
import torch

from mosar.avatar import Avatar, encode
from mosar.avatar.render import render
from mosar.jobs.evaluation.segmentation.outline import landmark_classes
from mosar.models.camera import project
from mosar.models.head import load_head
from mosar.models.head.morph import landmarks
from mosar.models.morphable import pretrained
from mosar.models.preview import frontal_camera
from mosar.models.reconstruct.cues import thumbnail
from mosar.models.reconstruct.estimate import Estimate, Maps, Portrait, Settings
from mosar.models.reconstruct.shape_fit import fit_shape
from mosar.models.relight import uniform_light
from mosar.models.stages import geometry
from mosar.models.stages.geometry.network import Geometry, Parameters, image_position
from mosar.models.stages.geometry.points_network import Normal

CROP = 256
UPRIGHT = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


@pytest.fixture(scope="module")
def module() -> Geometry:
    torch.manual_seed(0)
    config = geometry.Config(width=8, blocks=(1, 1, 1, 1), crop_size=64)
    return Geometry(config, load_head(), pretrained.load(load_head())).eval()


@pytest.fixture(scope="module")
def person(module: Geometry) -> Avatar:
    """Somebody with the average albedo, lit from the left."""
    head, model = load_head(), module.morphable
    codes = torch.randn(1, model.config.identity_codes, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        mesh = model.decode(codes, model.neutral_code())
        diffuse, specular = model.reflectance(torch.zeros(1, model.config.reflectance_codes))
    one = torch.ones_like(specular)
    maps = Maps(diffuse, 0.0 * one, one, 0.0 * one, torch.cat([0.0 * one, 0.0 * one, one], 1), one)
    light = uniform_light(1)
    light[:, 3] = 1.0
    camera = frontal_camera(1, CROP, torch.device("cpu"), head_height_mm=260.0)
    return Avatar(
        head=head, vertices_1v3=mesh, neutral_1v3=mesh, maps=maps, eyes_hw3=head.eyes_albedo_hw3,
        mouth_hw3=head.mouth_albedo_hw3, tone={}, camera=camera, light_1lc=light, expression={}, width=CROP,
        height=CROP, bundle_digest="", timings_s={},
    )  # fmt: skip


def estimate_of(person: Avatar, steps: int) -> Estimate:
    pixels = encode.srgb8(render(person, person.camera, (CROP, CROP)).colour_13hw)
    points = project(person.camera, landmarks(person.head, person.vertices_1v3))
    portrait = Portrait(
        photograph_hw3=torch.from_numpy(pixels.copy()),
        thumbnail_13tt=thumbnail(torch.from_numpy(pixels.copy()), 64),
        inside_11hw=torch.ones(1, 1, CROP, CROP),
        crop_13hw=torch.from_numpy(pixels / 255.0).float().permute(2, 0, 1)[None],
        classes_1khw=torch.from_numpy(landmark_classes(pixels, points[0].numpy()))[None],
        points_1n3=torch.cat([points, torch.zeros_like(points[..., :1])], dim=2),
        scores_1e=torch.zeros(1, 52),
        intrinsics_133=person.camera.intrinsics_b33,
        to_crop_133=torch.eye(3)[None],
        width=CROP,
        height=CROP,
    )
    return Estimate(person.head, portrait, Settings(64, CROP, steps, 512))


def start_of(module: Geometry, person: Avatar) -> Parameters:
    """An encoder's answer that knows the pose and the light, and nothing of the person."""
    sizes = module.morphable.config
    identity, neutral = torch.zeros(1, sizes.identity_codes), module.morphable.neutral_code()
    return Parameters(
        Normal(identity, torch.zeros_like(identity)),
        Normal(neutral, torch.full_like(neutral, 2 * math.log(0.3))),
        torch.zeros(1, sizes.reflectance_codes),
        person.light_1lc,
        UPRIGHT[None],
        image_position(person.camera, CROP),
    )


def distance(found: torch.Tensor, true: torch.Tensor) -> float:
    """Mean distance of the faces, mm, without their mean offset."""
    face = torch.tensor(load_head().region("face"))
    a, b = found[0, face], true[0, face]
    return float((a - a.mean(0) - (b - b.mean(0))).norm(dim=-1).mean())


def test_landmarks_and_shading_tell_the_person(module: Geometry, person: Avatar) -> None:
    start = start_of(module, person)
    before = fit_shape(module, estimate_of(person, 0), start)
    torch.testing.assert_close(before.camera.rotation_b33, UPRIGHT[None])
    fit = fit_shape(module, estimate_of(person, 8), start)
    assert fit.end < fit.start
    assert distance(fit.neutral_1v3, person.neutral_1v3) < 0.8 * distance(before.neutral_1v3, person.neutral_1v3)
    embedded = torch.from_numpy(person.head.landmark_triangle_l >= 0)
    points = estimate_of(person, 8).portrait.landmarks_1n2[0, embedded]
    missed, first = (
        float((project(f.camera, landmarks(person.head, f.mesh_1v3))[0, embedded] - points).norm(dim=1).mean())
        for f in (fit, before)
    )
    assert missed < 0.5 * first


def test_without_seen_skin_the_landmarks_remain(module: Geometry, person: Avatar) -> None:
    estimate = estimate_of(person, 8)
    nothing = replace(estimate.portrait, classes_1khw=torch.zeros_like(estimate.portrait.classes_1khw))
    fit = fit_shape(module, replace(estimate, portrait=nothing), start_of(module, person))
    assert bool(fit.mesh_1v3.isfinite().all())
    assert bool(fit.neutral_1v3.isfinite().all())
