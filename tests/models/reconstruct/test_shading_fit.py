"""The fit through the shading against texels that a known person, light and albedo made."""

import pytest
import torch

from mosar.models.head import load_head
from mosar.models.head.morph import vertex_normals
from mosar.models.morphable import pretrained
from mosar.models.morphable.network import Morphable
from mosar.models.reconstruct.identity_belief import Belief
from mosar.models.reconstruct.shading_fit import Observed, fit_shading
from mosar.models.relight import uniform_light
from mosar.models.shading import irradiance
from mosar.models.uv import chart, interpolate


@pytest.fixture(scope="module")
def model() -> Morphable:
    return pretrained.load(load_head())


@pytest.fixture(scope="module")
def index() -> torch.Tensor:
    """Texels of the face."""
    head = load_head()
    texels = chart(head, 64)
    face = torch.tensor(head.region("face") & ~head.region("interior"))[torch.tensor(head.triangles_f3)].all(1)
    return (face[texels.triangle_hw.clamp_min(0)] & (texels.triangle_hw >= 0)).flatten().nonzero()[:, 0]


def someone(model: Morphable, index: torch.Tensor, side: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Identity codes, the radiance of the texels, and their light: brighter from one side."""
    head, generator = load_head(), torch.Generator().manual_seed(4)
    identity = torch.randn(1, model.config.identity_codes, generator=generator)
    mesh = model.decode(identity, model.neutral_code())
    normals = vertex_normals(mesh, torch.tensor(head.triangles_f3))
    normal = interpolate(chart(head, 64), torch.tensor(head.triangles_f3), normals).flatten(2)[:, :, index].mT
    light = uniform_light(1)
    light[:, 3] = side
    light[:, 1] = 0.5
    albedo = model.reflectance(torch.zeros(1, model.config.reflectance_codes))[0].flatten(2)[0, :, index].T
    lit = irradiance(light, torch.nn.functional.normalize(normal, dim=-1))[0] / torch.pi
    return identity, albedo * lit, light


def distance(model: Morphable, a: torch.Tensor, b: torch.Tensor) -> float:
    """Mean distance of the faces, mm, without their mean offset."""
    face = torch.tensor(load_head().region("face"))
    found, true = (model.decode(x, model.neutral_code())[0, face] for x in (a, b))
    return float((found - found.mean(0) - (true - true.mean(0))).norm(dim=-1).mean())


def run(
    model: Morphable, observed: Observed, light: torch.Tensor, prior: float = 1.0
) -> tuple[torch.Tensor, float, float]:
    zero = torch.zeros(1, model.config.identity_codes)
    mesh = model.decode(zero, model.neutral_code())
    reflectance = torch.zeros(1, model.config.reflectance_codes)
    known = Belief(zero, prior * torch.eye(zero.shape[1]))
    expression = model.neutral_code()
    found = fit_shading(load_head(), model, mesh, known, expression, observed, light, reflectance, 0.03, 600.0)
    # The shading adds knowledge of the identity and takes none away.
    gained = torch.linalg.eigvalsh((found.belief.precision_kk - known.precision_kk).double())
    assert float(gained.min()) > -1e-3 * float(gained.max())
    assert float(gained.max()) > 1.0
    return found.belief.mean_1k, found.start, found.end


def test_shading_tells_the_person(model: Morphable, index: torch.Tensor) -> None:
    identity, colour, light = someone(model, index, 0.9)
    observed = Observed(index, colour, *observed_rest(index))
    found, start, end = run(model, observed, light)
    assert end < 0.5 * start
    zero = torch.zeros_like(identity)
    assert distance(model, found, identity) < 0.75 * distance(model, zero, identity)


def observed_rest(index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(len(index), 1), torch.ones(len(index))


def test_texels_without_weight_and_outliers_change_little(model: Morphable, index: torch.Tensor) -> None:
    identity, colour, light = someone(model, index, 0.9)
    dark = colour.clone()
    dark[::7] *= 0.1  # a shadow that no normal explains
    ones, weight = observed_rest(index)
    clean = run(model, Observed(index, colour, ones, weight), light)[0]
    robust = run(model, Observed(index, dark, ones, weight), light)[0]
    assert distance(model, robust, identity) < 1.25 * distance(model, clean, identity)
    masked = weight.clone()
    masked[::7] = 0.0
    worse = colour.clone()
    worse[::7] = 5.0
    a, b = (run(model, Observed(index, c, ones, masked), light)[0] for c in (colour, worse))
    torch.testing.assert_close(a, b)


def test_a_sure_prior_keeps_the_person(model: Morphable, index: torch.Tensor) -> None:
    _, colour, light = someone(model, index, 0.9)
    observed = Observed(index, colour, *observed_rest(index))
    assert float(run(model, observed, light, 1e6)[0].norm()) < 0.05 * float(run(model, observed, light)[0].norm())
