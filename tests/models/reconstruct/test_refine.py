import math
from dataclasses import replace

import pytest
import torch

from mosar.models.camera import Camera, project
from mosar.models.head import load_head
from mosar.models.head.expression_model import express
from mosar.models.head.identity_sampling import sample_identity
from mosar.models.head.morph import landmarks, morph_targets, shape
from mosar.models.reconstruct.blendshapes import expression_weights
from mosar.models.reconstruct.budget import Budget
from mosar.models.reconstruct.light_estimation import solve_light
from mosar.models.reconstruct.refine import refine
from mosar.models.shading import Material, shade
from mosar.models.stages.geometry.network import Geometry, Parameters
from mosar.models.stages.geometry.points_network import Normal

SIZE = 256
UPRIGHT = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


def average(module: Geometry, rotation: torch.Tensor, size: float) -> Parameters:
    """The start: average codes, seen from the front."""
    sizes = module.morphable.config
    identity, expression = (torch.zeros(1, n) for n in (sizes.identity_codes, sizes.expression_codes))
    return Parameters(
        Normal(identity, torch.zeros_like(identity)),
        Normal(expression, torch.zeros_like(expression)),
        torch.zeros(1, sizes.reflectance_codes),
        torch.zeros(1, 81, 3),
        rotation,
        torch.tensor([[0.0, 0.0, math.log(size)]]),
    )


def someone(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    head, generator = load_head(), torch.Generator().manual_seed(seed)
    person = sample_identity(head, generator)
    weights = torch.zeros(1, len(head.expression_names))
    weights[0, head.expression_names.index("jawOpen")] = 0.4
    who = person.archetype_a[None], person.mode_m[None]
    return shape(head, *who, weights), shape(head, *who, 0 * weights)


@pytest.mark.parametrize("yaw", [-0.5, 0.0, 0.4])
def test_fit_reaches_the_landmarks_of_another_person(module: Geometry, yaw: float) -> None:
    head = load_head()
    mesh, _ = someone(5)
    turn = torch.tensor([[math.cos(yaw), 0.0, math.sin(yaw)], [0.0, 1.0, 0.0], [-math.sin(yaw), 0.0, math.cos(yaw)]])
    rotation = UPRIGHT @ turn
    intrinsics = torch.tensor([[[900.0, 0.0, 140.0], [0.0, 900.0, 100.0], [0.0, 0.0, 1.0]]])
    truth = Camera(intrinsics, rotation[None], torch.tensor([[10.0, 20.0, 1200.0]]))
    points = project(truth, landmarks(head, mesh))
    start = average(module, UPRIGHT[None], 0.3)
    fit = refine(head, module, start, points, intrinsics, SIZE)
    embedded = torch.from_numpy(head.landmark_triangle_l >= 0)
    missed = (project(fit.camera, landmarks(head, fit.mesh_1v3)) - points)[0, embedded].norm(dim=1)
    assert float(missed.mean()) < 0.8
    assert fit.end < 0.05 * fit.start
    assert (fit.parameters.rotation_b33[0] - rotation).abs().max() < 0.1
    none = refine(head, module, start, points, intrinsics, SIZE, Budget(0))
    assert none.end == none.start == fit.start
    torch.testing.assert_close(none.camera.rotation_b33, UPRIGHT[None])


def test_codes_move_towards_the_person(module: Geometry) -> None:
    """The fit must find the person, not only the landmarks, although the focal length is guessed too long."""
    head, generator = load_head(), torch.Generator().manual_seed(3)
    model = module.morphable
    sizes = model.config.identity_codes, model.config.expression_codes
    identity, expression = (torch.randn(1, n, generator=generator) for n in sizes)
    mesh, neutral = model.decode(identity, expression), model.decode(identity, model.neutral_code())
    intrinsics = torch.tensor([[[800.0, 0.0, 128.0], [0.0, 800.0, 128.0], [0.0, 0.0, 1.0]]])
    truth = Camera(intrinsics, UPRIGHT[None], torch.tensor([[5.0, -15.0, 800.0]]))
    points = project(truth, landmarks(head, mesh))
    guessed = intrinsics * torch.tensor([1.3, 1.3, 1.0])[:, None].where(torch.eye(3) > 0, torch.tensor(1.0))
    start = average(module, UPRIGHT[None], 0.35)
    fit = refine(head, module, start, points, guessed, SIZE)
    assert abs(float(fit.camera.intrinsics_b33[0, 0, 0]) - 800.0) < 160.0
    face = torch.tensor(head.region("face"))

    def millimetres(found: torch.Tensor, true: torch.Tensor) -> float:
        a, b = found[0, face], true[0, face]
        return float((a - a.mean(0) - (b - b.mean(0))).norm(dim=-1).mean())

    mean = model.decode(torch.zeros(1, sizes[0]), model.neutral_code())
    assert millimetres(fit.neutral_1v3, neutral) < 0.85 * millimetres(mean, neutral)
    assert millimetres(fit.mesh_1v3, mesh) < 0.7 * millimetres(mean, mesh)


def test_a_sure_prior_keeps_the_codes(module: Geometry) -> None:
    """The less the encoder is sure of its answer, the more the landmarks change it."""
    head, (mesh, _) = load_head(), someone(5)
    intrinsics = torch.tensor([[[900.0, 0.0, 128.0], [0.0, 900.0, 128.0], [0.0, 0.0, 1.0]]])
    points = project(Camera(intrinsics, UPRIGHT[None], torch.tensor([[0.0, 0.0, 1200.0]])), landmarks(head, mesh))
    start = average(module, UPRIGHT[None], 0.3)
    change = []
    for deviation in (0.05, 1.0):
        digits = torch.full_like(start.identity_bk, 2 * math.log(deviation))
        told = replace(start, identity=Normal(start.identity_bk, digits))
        change.append(float(refine(head, module, told, points, intrinsics, SIZE).parameters.identity_bk.norm()))
    assert change[0] < 0.3 * change[1]


def test_expression_weights_are_recovered() -> None:
    mesh, neutral = someone(7)
    weights = expression_weights(load_head(), mesh, neutral)
    assert weights["jawOpen"] == pytest.approx(0.4, abs=0.08)
    others = [w for name, w in weights.items() if name != "jawOpen"]
    assert max(others) < 0.15
    assert min(others) >= 0.0


def test_morph_targets_are_the_persons_own() -> None:
    """Exact for one expression at full weight; at other weights and in combinations they lose the non-linear part."""
    head = load_head()
    _, neutral = someone(9)
    targets = morph_targets(head, neutral)
    weights = torch.zeros(3, len(head.expression_names))
    jaw, smile = (head.expression_names.index(n) for n in ("jawOpen", "mouthSmileLeft"))
    weights[0, jaw], weights[1, jaw] = 1.0, 0.5
    weights[2, [jaw, smile]] = 0.4
    exact = express(head, neutral.expand(3, -1, -1), weights)
    lost = (exact - neutral - torch.tensordot(weights, targets, dims=1)).norm(dim=-1).amax(dim=1)
    assert lost[0] < 1e-3
    assert 0.5 < lost[1] < 4.0
    found = expression_weights(head, exact[2:], neutral)
    assert found["jawOpen"] == pytest.approx(0.4, abs=0.03)
    assert found["mouthSmileLeft"] == pytest.approx(0.4, abs=0.08)


def test_light_is_recovered_from_reflectance_and_normals() -> None:
    generator = torch.Generator().manual_seed(0)
    normals = torch.nn.functional.normalize(torch.randn(1, 2000, 3, generator=generator), dim=-1)
    views = torch.nn.functional.normalize(normals + 0.3 * torch.randn(1, 2000, 3, generator=generator), dim=-1)
    ones = torch.ones(1, 2000, 1)
    material = Material(0.2 + 0.4 * torch.rand(1, 2000, 3, generator=generator), 0.3 * ones, ones, 0 * ones)
    light = torch.zeros(1, 81, 3)
    light[:, 0] = 3.5
    light[:, 1:9] = 0.8 * torch.randn(1, 8, 3, generator=generator)
    observed = shade(material, normals, views, light)
    prior = torch.zeros(1, 81, 3)
    prior[:, 0] = 2.0
    found = solve_light(material, normals, views, observed, prior)
    before = (shade(material, normals, views, prior) - observed).abs().mean()
    after = (shade(material, normals, views, found) - observed).abs().mean()
    assert after < 0.1 * before
    torch.testing.assert_close(found[:, 25:], prior[:, 25:])
