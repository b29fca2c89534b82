"""The whole fit of a shape on a picture of a known person."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from mosar.avatar import Avatar
from mosar.models.camera import project
from mosar.models.head import load_head
from mosar.models.head.morph import landmarks
from mosar.models.reconstruct.estimate import Estimate, Portrait, Settings
from mosar.models.reconstruct.refine import Fit
from mosar.models.reconstruct.shape_fit import fit_shapes
from mosar.models.relight import uniform_light
from mosar.models.stages.geometry.network import Geometry, Parameters, image_position
from mosar.models.stages.geometry.points_network import Normal

CROP = 256
UPRIGHT = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


@pytest.fixture(scope="module")
def person(module: Geometry, avatar_of: Callable[..., Avatar]) -> Avatar:
    """Somebody with the average albedo, lit from the left."""
    model = module.morphable
    codes = torch.randn(1, model.config.identity_codes, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        mesh = model.decode(codes, model.neutral_code())
        diffuse, _ = model.reflectance(torch.zeros(1, model.config.reflectance_codes))
    light = uniform_light(1)
    light[:, 3] = 1.0
    return avatar_of(mesh, diffuse, 0.0, light)


@pytest.fixture(scope="module")
def estimate(person: Avatar, portrait_of: Callable[..., Portrait]) -> Estimate:
    return Estimate(person.head, portrait_of(person), Settings(64, CROP, 8, 512))


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


def missed_px(fit: Fit, estimate: Estimate) -> float:
    """Mean distance of the mesh's landmarks from the measured ones, pixels of the crop."""
    embedded = torch.from_numpy(estimate.head.landmark_triangle_l >= 0)
    found = project(fit.camera, landmarks(estimate.head, fit.mesh_1v3))[0, embedded]
    return float((found - estimate.portrait.landmarks_1n2[0, embedded]).norm(dim=1).mean())


def test_landmarks_and_shading_tell_the_person(module: Geometry, person: Avatar, estimate: Estimate) -> None:
    start = start_of(module, person)
    unfitted = replace(estimate, settings=replace(estimate.settings, fit_steps=0))
    (before,) = fit_shapes(module, [unfitted], [start])
    torch.testing.assert_close(before.camera.rotation_b33, UPRIGHT[None])
    (fit,) = fit_shapes(module, [estimate], [start])
    assert fit.end < fit.start
    assert distance(fit.neutral_1v3, person.neutral_1v3) < 0.8 * distance(before.neutral_1v3, person.neutral_1v3)
    assert missed_px(fit, estimate) < 0.5 * missed_px(before, estimate)


def test_without_seen_skin_the_landmarks_remain(module: Geometry, person: Avatar, estimate: Estimate) -> None:
    nothing = replace(estimate.portrait, classes_1khw=torch.zeros_like(estimate.portrait.classes_1khw))
    (fit,) = fit_shapes(module, [replace(estimate, portrait=nothing)], [start_of(module, person)])
    assert bool(fit.mesh_1v3.isfinite().all())
    assert bool(fit.neutral_1v3.isfinite().all())


def test_photographs_of_one_person_share_the_neutral_mesh(
    module: Geometry, person: Avatar, estimate: Estimate, portrait_of: Callable[..., Portrait]
) -> None:
    other = replace(estimate, portrait=portrait_of(person, 0.7))
    start = start_of(module, person)
    wrong = replace(start, identity=Normal(start.identity_bk + 1.0, start.identity.log_variance_bk))
    first, second = fit_shapes(module, [estimate, other], [wrong, start])
    torch.testing.assert_close(first.neutral_1v3, second.neutral_1v3, rtol=0, atol=0)
    (alone,) = fit_shapes(module, [estimate], [wrong])
    assert distance(first.neutral_1v3, person.neutral_1v3) < distance(alone.neutral_1v3, person.neutral_1v3)


def test_without_time_the_person_is_the_encoders_and_the_mesh_lies_on_the_landmarks(
    module: Geometry, person: Avatar, estimate: Estimate
) -> None:
    hurried = replace(estimate, settings=replace(estimate.settings, fit_seconds=1e-9))
    unfitted = replace(estimate, settings=replace(estimate.settings, fit_steps=0))
    start = start_of(module, person)
    (before,) = fit_shapes(module, [unfitted], [start])
    assert not before.ended_early
    one, other = fit_shapes(module, [hurried, hurried], [start, start])
    assert one.ended_early
    torch.testing.assert_close(one.neutral_1v3, before.neutral_1v3)
    assert torch.equal(one.neutral_1v3, other.neutral_1v3)
    assert missed_px(one, estimate) < 0.5 * missed_px(before, estimate)
