import numpy as np
import pytest
import torch

from mosar.models.head import load_head
from mosar.models.head.morph import shape
from mosar.models.head.sample import sample_identity
from mosar.models.stages.morphable import Config, Stage
from mosar.models.stages.morphable.graph import ChebConv, SparseLinear, adjacency, cluster, pooling, scaled_laplacian
from mosar.models.stages.morphable.network import Morphable

SMALL = Config(identity_codes=16, expression_codes=16, reflectance_codes=8, width=4, order=3, texture_size=16)
Sample = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Twelve people with an expression each and random maps."""
    head, generator = load_head(), torch.Generator().manual_seed(3)
    people = [sample_identity(head, generator) for _ in range(12)]
    who = torch.stack([p.archetype_a for p in people]), torch.stack([p.mode_m for p in people])
    weights = torch.rand(12, len(head.expression_names), generator=generator) ** 8
    maps = {"diffuse": 3, "specular": 1}
    drawn = {n: torch.randint(0, 256, (12, c, 16, 16), generator=generator).byte() for n, c in maps.items()}
    return {"neutral": shape(head, *who, 0 * weights), "mesh": shape(head, *who, weights), **drawn}


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage(SMALL, load_head())


@pytest.fixture
def module(stage: Stage, sample: Sample) -> Morphable:
    torch.manual_seed(0)
    module = stage.build({})
    stage.calibrate(module, [{"lightstage": sample}])
    return module


def test_chebyshev_convolution_is_its_formula() -> None:
    """T_k of the dense scaled Laplacian, by its eigenvalues: T_k(x) = cos(k arccos x)."""
    triangles = np.array([[0, 1, 2], [1, 3, 2], [3, 4, 2]])
    laplacian = scaled_laplacian(adjacency(triangles, 5))
    convolution = ChebConv(SparseLinear(laplacian), 2, 3, order=4)
    x = torch.randn(2, 5, 2)
    values, vectors = torch.linalg.eigh(torch.tensor(laplacian.toarray()))
    polynomials = [vectors @ torch.diag((k * values.clamp(-1, 1).acos()).cos()) @ vectors.T for k in range(4)]
    expected = convolution.linear(torch.cat([p @ x for p in polynomials], dim=-1))
    torch.testing.assert_close(convolution(x), expected, atol=1e-5, rtol=1e-5)


def test_sparse_product_gradient() -> None:
    points = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    product = SparseLinear(pooling(points, cluster(points, 3)))
    x, weight = torch.randn(2, 9, 2, requires_grad=True), torch.randn(2, 3, 2)
    (product(x) * weight).sum().backward()
    dense = torch.tensor(pooling(points, cluster(points, 3)).toarray())
    torch.testing.assert_close(x.grad, dense.T @ weight)


def test_untrained_decoder_gives_the_average(module: Morphable, sample: Sample) -> None:
    mesh = module.decode(torch.randn(2, 16), torch.randn(2, 16))
    expected = sample["mesh"].mean(dim=0).expand(2, -1, -1)
    torch.testing.assert_close(mesh, expected, atol=1e-3, rtol=0)


def test_a_few_steps_beat_the_average(stage: Stage, module: Morphable, sample: Sample) -> None:
    generator, batch = torch.Generator().manual_seed(0), {"lightstage": sample}
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(25):
        optimiser.zero_grad()
        torch.stack(list(stage.losses(module, batch, generator).values())).sum().backward()
        optimiser.step()
    assert stage.metrics(module, batch, generator)["loss"] < 0.8 * stage.blind(module, batch, generator)
    a, b = (
        stage.metrics(module, {"lightstage": {k: v[i : i + 1] for k, v in sample.items()}}, generator) for i in (0, 1)
    )
    assert a["loss"] != b["loss"]
    codes = module.encode(sample["neutral"], sample["mesh"])[0][0]
    meshes = module.decode(codes, module.neutral_code().expand(12, -1))
    assert (meshes[0] - meshes[1]).norm(dim=-1).mean() > 0.1  # another input, another output


def test_gradients_reach_every_parameter(stage: Stage, module: Morphable, sample: Sample) -> None:
    for parameter in module.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.01)
    torch.stack(list(stage.losses(module, {"lightstage": sample}, torch.Generator()).values())).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_reflectance_code_round_trip(module: Morphable, sample: Sample) -> None:
    """What lies in the span of the basis comes back; codes have the variance of the data."""
    code = 0.2 * torch.randn(3, 8)
    diffuse, specular = module.reflectance(code)
    inside = (diffuse > 0) & (diffuse < 1)
    found = module.reflectance_code(diffuse, specular)
    if inside.all():
        torch.testing.assert_close(found, code, atol=1e-3, rtol=1e-3)
    maps = torch.cat([sample["diffuse"], sample["specular"]], dim=1)[:1] / 255.0
    from mosar.models.colour import to_linear

    own = module.reflectance_code(to_linear(maps[:, :3]), maps[:, 3:])
    again = torch.cat(module.reflectance(own), dim=1)
    mean = torch.cat(module.reflectance(0 * own), dim=1)
    truth = torch.cat([to_linear(maps[:, :3]), maps[:, 3:]], dim=1)
    assert (again - truth).square().mean() < (mean - truth).square().mean()


def test_preview_is_a_picture(stage: Stage, module: Morphable, sample: Sample) -> None:
    picture = stage.preview(module, {"lightstage": sample}, torch.Generator())
    assert picture.shape == (3, 256, 512)
    assert 0.0 <= float(picture.min()) < 0.1
    assert 0.3 < float(picture.max()) <= 1.0
