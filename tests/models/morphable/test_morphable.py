import dataclasses

import numpy as np
import pytest
import torch

from mosar.errors import ConfigError, DataError
from mosar.models.head import load_head
from mosar.models.head.identity_sampling import sample_identity, scan_modes
from mosar.models.head.morph import neutral, shape
from mosar.models.morphable import pretrained
from mosar.models.morphable.basis import Basis
from mosar.models.morphable.fitting import Faces, Gaussian, MapEstimator, photograph, scan
from mosar.models.morphable.mixture import Mixture
from mosar.models.morphable.network import Morphable
from mosar.models.morphable.pca import Pca
from mosar.models.stages.morphable import Config, Stage

SMALL = Config(
    identity_codes=16, expression_codes=16, reflectance_codes=8, identity_basis=24, expression_basis=24, hidden=32,
    texture_size=16,
)  # fmt: skip
Sample = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Twelve people, each with an expression and random maps."""
    head, generator = load_head(), torch.Generator().manual_seed(3)
    people = [sample_identity(head, generator) for _ in range(12)]
    who = torch.stack([p.archetype_a for p in people]), torch.stack([p.mode_m for p in people])
    weights = torch.rand(12, len(head.expression_names), generator=generator) ** 8
    maps = {"diffuse": 3, "specular": 1}
    drawn = {n: torch.randint(0, 256, (12, c, 16, 16), generator=generator).byte() for n, c in maps.items()}
    return {"neutral": shape(head, *who, 0 * weights), "mesh": shape(head, *who, weights), **drawn}


def made(sample: Sample, **changes: object) -> tuple[Stage, Morphable]:
    """A stage with changes to SMALL, and its module with fitted statistics."""
    torch.manual_seed(0)
    stage = Stage(dataclasses.replace(SMALL, **changes), load_head())  # type: ignore[arg-type]
    module = stage.build({})
    stage.fit_statistics(module, [{"lightstage": sample}])
    return stage, module


@pytest.fixture
def stage(sample: Sample) -> Stage:
    return made(sample)[0]


@pytest.fixture
def module(sample: Sample) -> Morphable:
    return made(sample)[1]


def test_components_are_those_of_a_weighted_singular_value_decomposition() -> None:
    generator = torch.Generator().manual_seed(0)
    offsets = torch.randn(30, 7, 3, generator=generator) + 2.0
    weight = torch.rand(7, generator=generator) + 0.1
    basis = Basis(weight, 40)
    basis.fit(offsets)
    flat = ((offsets - offsets.mean(0)) * weight.sqrt()[:, None]).flatten(1)
    left, _, _ = torch.linalg.svd(flat, full_matrices=False)
    found = basis.coefficients(offsets)
    torch.testing.assert_close(found[:, :21].abs(), left.abs() * 30**0.5, atol=1e-3, rtol=1e-3)
    assert (found[:, 21:] == 0).all()  # 21 numbers per sample span at most 21 directions
    torch.testing.assert_close(basis.mean_v3 + basis.to_vertices(found), offsets, atol=1e-4, rtol=1e-4)
    few = torch.tensor([5, 2])
    torch.testing.assert_close(basis.to_vertices(found, few), basis.to_vertices(found)[:, few])


def test_untrained_model_is_pca(sample: Sample, module: Morphable) -> None:
    """Codes are standardised, and the mesh is its weighted projection onto the components."""
    (identity, _), (expression, _) = module.encode(sample["neutral"], sample["mesh"])
    torch.testing.assert_close(identity[:, :11].square().mean(0), torch.ones(11), atol=1e-3, rtol=0)
    found = module.decode(identity, expression)
    torch.testing.assert_close(found, sample["mesh"], atol=2e-3, rtol=0)  # eleven components span twelve people
    torch.testing.assert_close(found, module.decode_linear(identity, expression))
    few = torch.tensor([7, 3])
    torch.testing.assert_close(module.decode(identity, expression, few), found[:, few], atol=1e-4, rtol=1e-5)


def test_model_started_at_the_mean_gives_the_average(sample: Sample) -> None:
    _, module = made(sample, start="mean")
    mesh = module.decode(torch.randn(2, 16), torch.randn(2, 16))
    torch.testing.assert_close(mesh, sample["mesh"].mean(dim=0).expand(2, -1, -1), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("encoder", "decoder"), [("spectral", "spectral"), ("linear", "linear")])
def test_a_few_steps_beat_the_average(sample: Sample, encoder: str, decoder: str) -> None:
    stage, module = made(sample, start="mean", encoder=encoder, decoder=decoder, off_face=1.0)
    generator, batch = torch.Generator().manual_seed(0), {"lightstage": sample}
    optimiser = torch.optim.Adam(module.parameters(), 2e-2)
    for _ in range(15):
        optimiser.zero_grad()
        torch.stack(list(stage.losses(module, batch, generator).values())).sum().backward()
        optimiser.step()
    assert stage.metrics(module, batch, generator)["loss"] < 0.8 * stage.baseline(module, batch, generator)
    a, b = (
        stage.metrics(module, {"lightstage": {k: v[i : i + 1] for k, v in sample.items()}}, generator) for i in (0, 1)
    )
    assert a["loss"] != b["loss"]
    codes = module.encode(sample["neutral"], sample["mesh"])[0][0]
    meshes = module.decode(codes, module.neutral_code().expand(12, -1))
    assert (meshes[0] - meshes[1]).norm(dim=-1).mean() > 0.1  # different inputs give different outputs


def test_gradients_reach_every_parameter(sample: Sample) -> None:
    stage, module = made(sample, synthetic_per_batch=4, synthetic_pool=16)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.01)
    losses = stage.losses(module, {"lightstage": sample}, torch.Generator())
    assert set(losses) == {"mesh", "neutral", "swap", "kl"}
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("observe", [photograph, scan])
def test_most_likely_face_of_a_linear_model_is_the_closed_form(sample: Sample, observe) -> None:  # type: ignore[no-untyped-def]
    """With the same components, Gaussian and landmarks, the decoder and the normal equations give the same face."""
    module, faces, pca = _linear(sample)
    prior = Gaussian.of(torch.randn(500, 16, generator=torch.Generator().manual_seed(0)))
    mixture = Mixture(torch.ones(1).double(), prior.mean_k[None], torch.linalg.inv(prior.precision_kk)[None])
    observed = observe(faces, faces.of(sample["mesh"]), 40, 1.0, 0)
    assert observed.seen_nl.sum(dim=1).tolist() == [40] * len(sample["mesh"])
    found = MapEstimator(module, faces, mixture)(observed, 0.7)
    torch.testing.assert_close(found, pca.most_likely(faces, observed, prior, 0.7), atol=1e-3, rtol=0)


def test_photograph_observes_no_depth_and_no_far_cheek(sample: Sample) -> None:
    faces = Faces(load_head())
    observed = photograph(faces, faces.of(sample["mesh"]), 30, 0.0001, 3)
    away_n3 = torch.cross(observed.axes_na3[:, 0], observed.axes_na3[:, 1], dim=1)
    assert (faces.normal_l3 @ away_n3.T).T[observed.seen_nl].min() > 0.1
    moved = faces.landmarks(faces.of(sample["mesh"])) + 5 * away_n3[:, None]
    for person in range(len(moved)):
        error = (observed.predicted(moved[person], person) - observed.known(person)) * observed.noise_mm
        assert error.abs().max() < 0.01
    with pytest.raises(ConfigError, match="expected at most"):
        photograph(faces, faces.of(sample["mesh"]), len(faces.normal_l3), 0.0001, 3)


def test_recovery_finds_the_component_of_each_person(sample: Sample) -> None:
    """With two distant groups of people, the Gaussian of a person's own group alone gives the same face."""
    module, faces, pca = _linear(sample)
    generator = torch.Generator().manual_seed(1)
    centre = 6 * torch.randn(16, generator=generator).double()
    means, covariance = torch.stack([centre, -centre]), torch.eye(16).double().expand(2, 16, 16)
    both = Mixture(torch.tensor([0.5, 0.5]).double(), means, covariance)
    codes = (means + 0.3 * torch.randn(2, 16, generator=generator).double()).float()
    observed = scan(faces, pca.meshes(codes), 40, 1.0, 0)
    alone = [MapEstimator(module, faces, Mixture(torch.ones(1).double(), m[None], covariance[:1])) for m in means]
    found = MapEstimator(module, faces, both)(observed, 1.0)
    for person, recover in enumerate(alone):
        torch.testing.assert_close(found[person], recover(observed, 1.0)[person], atol=1e-3, rtol=0)


def test_a_mixture_finds_the_groups_it_was_drawn_from() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(4000, 3, generator=generator) * torch.tensor([1.0, 0.5, 0.2])
    samples[:1000] += torch.tensor([8.0, 0.0, 0.0])
    one, two = Mixture.of(samples), Mixture.of(samples, 2)
    torch.testing.assert_close(one.covariance_ckk[0], torch.cov(samples.double().T), atol=0.01, rtol=0)
    order = two.mean_ck[:, 0].argsort()
    torch.testing.assert_close(two.weight_c[order], torch.tensor([0.75, 0.25]).double(), atol=0.01, rtol=0)
    torch.testing.assert_close(two.mean_ck[order][1], torch.tensor([8.0, 0.0, 0.0]).double(), atol=0.1, rtol=0)
    pairs = two.beside(one)
    assert pairs.covariance_ckk.shape == (2, 6, 6)
    torch.testing.assert_close(pairs.covariance_ckk[1, 3:, 3:], one.covariance_ckk[0])
    torch.testing.assert_close(pairs.mean_ck[1], torch.cat([two.mean_ck[1], one.mean_ck[0]]))
    assert float(pairs.covariance_ckk[0, :3, 3:].abs().max()) == 0.0


def _linear(sample: Sample) -> tuple[Morphable, Faces, Pca]:
    """A model without a non-linear part, its faces, and PCA with the same components."""
    _, module = made(sample, encoder="linear", decoder="linear", off_face=1e-4, identity_codes=8, expression_codes=8)
    faces = Faces(load_head())
    rows = torch.cat([module.identity.basis.rows_kv3[:8], module.expression.basis.rows_kv3[:8]])
    average = faces.of(module.average()[None])
    return module, faces, Pca(torch.cat([average, 0 * average]), faces.of(rows), 8)


def test_a_released_model_is_read_again(tmp_path, module: Morphable, sample: Sample) -> None:  # type: ignore[no-untyped-def]
    head, path = load_head(), tmp_path / "model.safetensors"
    path.write_bytes(pretrained.to_file(module, head))
    again = pretrained.load(head, path)
    codes = torch.randn(2, 16)
    torch.testing.assert_close(again.decode(codes, codes), module.decode(codes, codes), atol=0.05, rtol=0)
    assert path.read_bytes() == pretrained.to_file(module, head)
    with pytest.raises(DataError, match="belongs to another head"):
        pretrained.load(dataclasses.replace(head, digest="0" * 64), path)
    with pytest.raises(DataError, match="export_weights"):
        pretrained.load(head, tmp_path / "none.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="export_weights"):
        pretrained.load(head, path)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="identity_basis"):
        Config(identity_codes=8, identity_basis=4)
    with pytest.raises(ConfigError, match="kl_weight"):
        Config(kl_weight=-1.0)


def test_reflectance_code_round_trip(module: Morphable, sample: Sample) -> None:
    """A code in the span of the basis is recovered, and codes of maps reconstruct better than the mean does."""
    code = 0.05 * torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    diffuse, specular = module.reflectance(code)
    assert ((diffuse > 0) & (diffuse < 1)).all()  # nothing is clipped, so that the code can be recovered
    torch.testing.assert_close(module.reflectance_code(diffuse, specular), code, atol=1e-3, rtol=1e-3)
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


def test_scanned_people_are_carried_by_the_first_codes(sample: Sample) -> None:
    """All modes of the scans fit into as many components, however the other people of the statistics look."""
    modes = int(scan_modes(load_head()).sum())
    sizes = {"identity_codes": modes + 10, "identity_basis": modes + 20}
    stage, module = made(sample, **sizes, encoder="linear", decoder="linear", synthetic_statistics=256)  # type: ignore[arg-type]
    np.testing.assert_allclose(module.mean_neutral_v3.numpy(), stage.head.template_v3, atol=0.01)
    generator = torch.Generator().manual_seed(9)
    missed = []
    for share in (1.0, 0.0):
        people = [sample_identity(stage.head, generator, share) for _ in range(6)]
        who = torch.stack([p.archetype_a for p in people]), torch.stack([p.mode_m for p in people])
        rest = neutral(stage.head, *who)
        with torch.no_grad():
            found = module.decode(module.encode(rest, rest)[0][0], module.neutral_code().expand(6, -1))
        missed.append(float((found - rest).norm(dim=-1)[:, torch.tensor(stage.head.region("face"))].mean()))
    assert missed[0] < 0.1
    assert missed[1] > 2 * missed[0]
