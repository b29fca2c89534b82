import math

import pytest
import torch

from mosar.models.camera import Camera, project
from mosar.models.head import load_head
from mosar.models.head.expression_model import express
from mosar.models.head.identity_sampling import sample_identity
from mosar.models.head.morph import landmarks, morph_targets, shape
from mosar.models.morphable import pretrained
from mosar.models.reconstruct.blendshapes import expression_weights
from mosar.models.reconstruct.light_estimation import solve_light
from mosar.models.reconstruct.refine import refine
from mosar.models.shading import Material, shade
from mosar.models.stages import morphable
from mosar.models.stages.geometry.network import Parameters

SIZE = 256


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    config = morphable.Config(identity_codes=16, expression_codes=16, reflectance_codes=8)
    return morphable.Stage(config, load_head()).build({}).eval().requires_grad_(False)


def someone(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    head, generator = load_head(), torch.Generator().manual_seed(seed)
    person = sample_identity(head, generator)
    weights = torch.zeros(1, len(head.expression_names))
    weights[0, head.expression_names.index("jawOpen")] = 0.4
    who = person.archetype_a[None], person.mode_m[None]
    return shape(head, *who, weights), shape(head, *who, 0 * weights)


@pytest.mark.parametrize("yaw", [-0.5, 0.0, 0.4])
def test_fit_reaches_the_landmarks_of_another_person(model: torch.nn.Module, yaw: float) -> None:
    head = load_head()
    mesh, _ = someone(5)
    turn = torch.tensor([[math.cos(yaw), 0.0, math.sin(yaw)], [0.0, 1.0, 0.0], [-math.sin(yaw), 0.0, math.cos(yaw)]])
    rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ turn
    intrinsics = torch.tensor([[[900.0, 0.0, 140.0], [0.0, 900.0, 100.0], [0.0, 0.0, 1.0]]])
    truth = Camera(intrinsics, rotation[None], torch.tensor([[10.0, 20.0, 1200.0]]))
    points = project(truth, landmarks(head, mesh))
    light = torch.zeros(1, 81, 3)
    start = Parameters(
        *(torch.zeros(1, n) for n in (16, 16, 8)),
        light,
        torch.diag(torch.tensor([1.0, -1.0, -1.0]))[None],
        torch.tensor([[0.0, 0.0, math.log(0.3)]]),
    )
    fit = refine(head, model, start, points, intrinsics, SIZE, steps=120)
    assert fit.end_px < 0.25 * fit.start_px
    assert fit.end_px < 2.5
    assert (fit.parameters.rotation_b33[0] - rotation).abs().max() < 0.12
    none = refine(head, model, start, points, intrinsics, SIZE, steps=0)
    assert none.end_px == none.start_px == fit.start_px


def test_codes_of_a_model_with_a_basis_move_towards_the_person() -> None:
    """The released model, whose decoder has a basis: the fit must find the person, not only the landmarks."""
    head, generator = load_head(), torch.Generator().manual_seed(3)
    released = pretrained.load(head)
    sizes = released.config.identity_codes, released.config.expression_codes, released.config.reflectance_codes
    identity, expression = (torch.randn(1, n, generator=generator) for n in sizes[:2])
    mesh, neutral = released.decode(identity, expression), released.decode(identity, released.neutral_code())
    intrinsics = torch.tensor([[[1100.0, 0.0, 128.0], [0.0, 1100.0, 128.0], [0.0, 0.0, 1.0]]])
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0]))[None]
    truth = Camera(intrinsics, upright, torch.tensor([[5.0, -15.0, 1100.0]]))
    points = project(truth, landmarks(head, mesh))
    place = torch.tensor([[0.0, 0.0, math.log(0.35)]])
    start = Parameters(*(torch.zeros(1, n) for n in sizes), torch.zeros(1, 81, 3), upright, place)
    fit = refine(head, released, start, points, intrinsics, SIZE, steps=50)
    assert fit.end_px < 0.2 * fit.start_px
    assert fit.parameters.identity_bk.abs().max() > 0.1
    face = torch.tensor(head.region("face"))

    def millimetres(found: torch.Tensor, true: torch.Tensor) -> float:
        a, b = found[0, face], true[0, face]
        return float((a - a.mean(0) - (b - b.mean(0))).norm(dim=-1).mean())

    average = released.decode(torch.zeros(1, sizes[0]), released.neutral_code())
    assert millimetres(fit.neutral_1v3, neutral) < 0.85 * millimetres(average, neutral)
    assert millimetres(fit.mesh_1v3, mesh) < 0.7 * millimetres(average, mesh)


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
