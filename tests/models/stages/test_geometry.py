import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mosar.errors import ConfigError
from mosar.models.camera import Camera, project
from mosar.models.head import Head, load_head
from mosar.models.head.morph import landmarks
from mosar.models.morphable.detector_error import DetectorError
from mosar.models.morphable.synthetic_people import sample_people
from mosar.models.stages import geometry, morphable
from mosar.models.stages.geometry.alignment import align, average_shape
from mosar.models.stages.geometry.mirror import Mirror, mirrored_points
from mosar.models.stages.geometry.network import Geometry, camera_of, image_position, rotation_of, turn_of
from mosar.models.stages.geometry.points_network import Seen
from mosar.models.stages.geometry.render import render_skin
from mosar.models.stages.geometry.stage import seen_in

SIZE = 64
MORPHABLE = morphable.Config(identity_codes=16, expression_codes=16, reflectance_codes=8, texture_size=16)
CONFIG = geometry.Config(width=8, blocks=(1, 1, 1, 1), crop_size=SIZE, render_size=32)
Sample = dict[str, torch.Tensor]


def frontal(count: int, focal: float = 220.0) -> Camera:
    intrinsics = torch.tensor([[focal, 0.0, SIZE / 2], [0.0, focal, SIZE / 2], [0.0, 0.0, 1.0]])
    rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    translation = torch.tensor([[5.0, -40.0, 1100.0 + 20.0 * i] for i in range(count)])
    return Camera(intrinsics.expand(count, 3, 3).clone(), rotation.expand(count, 3, 3).clone(), translation)


@pytest.fixture(scope="module")
def stage() -> geometry.Stage:
    return geometry.Stage(CONFIG, load_head())


@pytest.fixture
def parent() -> torch.nn.Module:
    torch.manual_seed(0)
    module = morphable.Stage(MORPHABLE, load_head()).build({})
    (people,) = sample_people(load_head(), 40, 0)
    module.fit_shape(people.neutral_nv3, people.meshes())
    torch.nn.init.normal_(module.reflectance_basis, std=0.02)
    module.reflectance_mean.fill_(0.6)
    return module


@pytest.fixture
def batch() -> dict[str, Sample]:
    head, generator, count = load_head(), torch.Generator().manual_seed(1), 4
    mesh = torch.tensor(head.template_v3)[None] + 2.0 * torch.randn(count, 1, 3, generator=generator)
    camera = frontal(count)
    points = torch.cat([project(camera, landmarks(head, mesh)), torch.ones(count, 478, 1)], dim=2)
    light = torch.zeros(count, 81, 3)
    light[:, 0] = 2.0 * math.sqrt(math.pi)
    light = light + 0.05 * torch.randn(light.shape, generator=generator)
    wild = {
        "image": torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=generator).byte(),
        "mask": torch.full((count, 1, SIZE, SIZE), 255, dtype=torch.uint8),
        "landmarks": points,
        "detected": detected(camera, head, mesh) + 0.3 * torch.randn(count, 478, 3, generator=generator),
        "blendshapes": torch.rand(count, 52, generator=generator),
        "found": torch.ones(count, 1),
        "intrinsics": camera.intrinsics_b33,
    }
    truth = {
        "mesh": mesh,
        "neutral": mesh + torch.randn(count, 1, 3, generator=generator),
        "rotation": camera.rotation_b33,
        "translation": camera.translation_b3,
        "light": light,
        "diffuse": torch.randint(90, 160, (count, 3, 16, 16), generator=generator).byte(),
        "specular": torch.randint(90, 160, (count, 1, 16, 16), generator=generator).byte(),
    }
    return {"lightstage": wild | truth, "wild": wild}


def detected(camera: Camera, head: Head, mesh: torch.Tensor) -> torch.Tensor:
    """Points and depths (b, 478, 3) as a detector without errors gives them, px."""
    at = landmarks(head, mesh)
    px_per_mm = camera.intrinsics_b33[:, 0, 0] / camera.translation_b3[:, 2]
    depth = (at @ camera.rotation_b33.mT)[..., 2] * px_per_mm[:, None]
    return torch.cat([project(camera, at), depth[..., None]], dim=2)


@pytest.fixture
def module(stage: geometry.Stage, parent: torch.nn.Module, batch: dict[str, Sample]) -> Geometry:
    torch.manual_seed(0)
    module = stage.build({"morphable": parent})
    stage.fit_statistics(module, [batch])
    return module


@given(x=st.floats(-80, 80), y=st.floats(-80, 80), z=st.floats(300, 4000), focal=st.floats(50, 2000))
@settings(max_examples=30, deadline=None)
def test_image_position_and_camera_of_are_inverse(x: float, y: float, z: float, focal: float) -> None:
    camera = frontal(1, focal)
    camera = Camera(camera.intrinsics_b33, camera.rotation_b33, torch.tensor([[x, y, z]]))
    again = camera_of(camera.rotation_b33, image_position(camera, SIZE), camera.intrinsics_b33, SIZE)
    torch.testing.assert_close(again.translation_b3, camera.translation_b3, atol=0.05, rtol=1e-3)


def test_rotation_vectors() -> None:
    turn = torch.randn(50, 3, dtype=torch.float64)
    turn = torch.cat([turn, 1e-9 * turn[:5], torch.zeros(1, 3, dtype=torch.float64)])
    rotation = rotation_of(turn)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(56, 3, 3))
    short = turn.norm(dim=1) < 3.0
    torch.testing.assert_close(turn_of(rotation)[short], turn[short])
    with torch.enable_grad():
        still = torch.eye(3, dtype=torch.float64)[None].requires_grad_()
        turn_of(still).sum().backward()
        assert still.grad is not None
        assert bool(still.grad.isfinite().all())


def test_alignment_undoes_a_similarity() -> None:
    generator = torch.Generator().manual_seed(0)
    shape = average_shape(torch.randn(3, 40, 3, generator=generator), torch.randn(40, 3, generator=generator))
    rotation = rotation_of(torch.tensor([[0.3, -0.5, 0.2], [0.0, 2.0, 0.0]]))
    moved = 37.0 * shape @ rotation.mT + torch.tensor([5.0, -2.0, 9.0])
    found = align(moved, shape)
    torch.testing.assert_close(found.points_bn3, shape.expand(2, -1, -1), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.rotation_b33, rotation, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.scale_b, torch.full((2,), 37.0))


def test_a_mirrored_sample_shows_the_mirrored_person(batch: dict[str, Sample]) -> None:
    """Projected landmarks of the mirrored mesh by the mirrored camera are the mirrored landmarks."""
    head, sample = load_head(), batch["lightstage"]
    yaw = rotation_of(torch.tensor([[0.1, 0.4, 0.1]])) @ sample["rotation"]
    sample = sample | {"rotation": yaw, "detected": sample["detected"]}
    average = landmarks(head, torch.tensor(head.template_v3)[None])[0]
    point_n = mirrored_points(average)
    embedded = torch.from_numpy(head.landmark_triangle_l >= 0)
    symmetric = torch.tensor(head.template_v3).expand(4, -1, -1)
    camera = Camera(sample["intrinsics"], sample["rotation"], sample["translation"])
    sample |= {"mesh": symmetric, "detected": detected(camera, head, symmetric)}
    mirror = Mirror(head, SIZE)
    found = mirror(sample, point_n, torch.tensor([True, True, False, True]))
    camera = Camera(found["intrinsics"], found["rotation"], found["translation"])
    torch.testing.assert_close(torch.linalg.det(found["rotation"]), torch.ones(4))
    again = detected(camera, head, found["mesh"])
    # The embedding is symmetric to a millimetre or so; a pixel is five.
    assert float((again - found["detected"])[:, embedded].norm(dim=-1).mean()) < 0.4
    assert float((sample["detected"] - found["detected"])[0, embedded].norm(dim=-1).mean()) > 2.0
    twice = mirror(found, point_n, torch.tensor([True, True, False, True]))
    for name, value in sample.items():
        if name != "detected":
            torch.testing.assert_close(twice[name], value)
    assert torch.equal(found["image"][2], sample["image"][2])


def test_errors_of_the_detector_are_learnt() -> None:
    generator = torch.Generator().manual_seed(0)
    yaw, pitch = (0.4 * torch.randn(400, generator=generator) for _ in range(2))
    truth = DetectorError(30, 2)
    truth.shared_kd.normal_(generator=generator)
    truth.own_d.fill_(0.25)
    truth.field_4d.normal_(generator=generator)
    found = DetectorError(30, 5)

    def drawn() -> torch.Tensor:
        shared = torch.randn(400, 2, generator=generator) @ truth.shared_kd
        own = truth.own_d.sqrt() * torch.randn(400, 60, generator=generator)
        return truth.mean(yaw, pitch) + (shared + own).unflatten(1, (-1, 2))

    found.fit(drawn(), yaw, pitch)
    expected = truth.mean(yaw, pitch)
    assert float((found.mean(yaw, pitch) - expected).abs().mean()) < 0.15
    other = drawn() - expected
    precision = torch.linalg.inv((truth.shared_kd.T @ truth.shared_kd + truth.own_d.diag()).double())
    torch.testing.assert_close(truth.precision(), precision, atol=1e-4, rtol=1e-4)
    energy = torch.einsum("nd,de,ne->n", other.flatten(1).double(), precision, other.flatten(1).double())
    torch.testing.assert_close(truth.energy(other).double(), energy, rtol=1e-3, atol=1e-2)
    assert float(found.energy(other).mean()) == pytest.approx(60.0, rel=0.2)


def test_uniform_light_shows_the_albedo() -> None:
    """Under white light of radiance one from everywhere, skin shows its albedo plus a small reflection."""
    head = load_head()
    light = torch.zeros(1, 81, 3)
    light[:, 0] = 2.0 * math.sqrt(math.pi)  # radiance one
    maps = torch.full((1, 3, 8, 8), 0.4), torch.zeros(1, 1, 8, 8)
    picture = render_skin(head, torch.tensor(head.template_v3)[None], *maps, light, frontal(1), SIZE)
    seen = picture.colour_b3hw.permute(0, 2, 3, 1)[picture.mask_b1hw[:, 0]]
    assert len(seen) > 500
    assert seen.min() > 0.399
    assert seen.median() < 0.42
    assert picture.negative == 0.0


def test_start_is_the_baseline(stage: geometry.Stage, module: Geometry, batch: dict[str, Sample]) -> None:
    generator = torch.Generator()
    start, baseline = stage.metrics(module, batch, generator)["loss"], stage.baseline(module, batch, generator)
    torch.testing.assert_close(start, baseline, atol=0.05 * float(baseline), rtol=0)


def test_training_lowers_every_streams_loss(stage: geometry.Stage, module: Geometry, batch: dict[str, Sample]) -> None:
    generator = torch.Generator().manual_seed(0)
    start = stage.metrics(module, batch, generator)
    optimiser = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], 2e-3)
    for _ in range(12):
        optimiser.zero_grad()
        torch.stack(list(stage.losses(module, batch, generator).values())).sum().backward()
        optimiser.step()
    end = stage.metrics(module, batch, generator)
    assert end["loss"] < start["loss"]
    assert end["codes"] < start["codes"]
    image, seen = batch["wild"]["image"] / 255.0, seen_in(batch["wild"])
    one, told = module(image, seen)
    other, still = module(image.flip(0), seen)
    assert (one.identity_bk - other.identity_bk).abs().max() > 1e-5  # other pixels, same landmarks
    assert torch.equal(told.identity_bk, still.identity_bk)
    assert (told.identity_bk[0] - told.identity_bk[1]).abs().max() > 1e-4


def test_gradients(stage: geometry.Stage, module: Geometry, batch: dict[str, Sample]) -> None:
    torch.nn.init.normal_(module.out.weight, std=0.02)
    torch.nn.init.normal_(module.answer.weight, std=0.02)
    torch.stack(list(stage.losses(module, batch, torch.Generator()).values())).sum().backward()
    for name, parameter in module.named_parameters():
        if name.startswith("morphable."):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("without", ["points", "image"])
def test_inputs_can_be_switched_off(parent: torch.nn.Module, batch: dict[str, Sample], without: str) -> None:
    stage = geometry.Stage(replace(CONFIG, **{without: False}), load_head())
    module = stage.build({"morphable": parent})
    stage.fit_statistics(module, [batch])
    image, seen = batch["wild"]["image"] / 255.0, seen_in(batch["wild"])
    other = Seen(seen.points_bn3.flip(0), seen.scores_be, seen.intrinsics_b33)
    first = module(image, seen)[0].identity_bk
    changed = module(image, other)[0] if without == "points" else module(image.flip(0), seen)[0]
    assert torch.equal(first, changed.identity_bk)


def test_projected_points_are_true_where_the_head_has_them(batch: dict[str, Sample]) -> None:
    embedded = torch.from_numpy(load_head().landmark_triangle_l >= 0)
    assert not embedded.all()
    true = torch.where(embedded[:, None], batch["lightstage"]["landmarks"], 0.0)  # as data sets have it
    sample = batch["lightstage"] | {"landmarks": true}
    sample["found"] = torch.ones_like(sample["found"])
    sample["found"][0] = 0.0
    seen, other = seen_in(sample).points_bn3, seen_in(sample, projected=True).points_bn3
    assert torch.equal(other[1:, embedded, :2], true[1:, embedded, :2])
    assert torch.equal(other[1:, ~embedded], sample["detected"][1:, ~embedded])
    assert torch.equal(other[1:, :, 2], sample["detected"][1:, :, 2])
    assert not torch.equal(seen[1:], other[1:])
    assert torch.equal(seen[0], other[0])  # no face was found


def test_projected_points_are_for_training_alone(
    stage: geometry.Stage, module: Geometry, batch: dict[str, Sample]
) -> None:
    torch.nn.init.normal_(module.answer.weight, std=0.02)
    other = geometry.Stage(replace(CONFIG, projected=True), load_head())
    seen, true = (each.losses(module, batch, torch.Generator().manual_seed(0))["points"] for each in (stage, other))
    assert not torch.equal(seen, true)
    held_out, again = (each.metrics(module, batch, torch.Generator())["points"] for each in (stage, other))
    assert torch.equal(held_out, again)


def test_an_empty_mask_is_accepted(stage: geometry.Stage, module: Geometry, batch: dict[str, Sample]) -> None:
    empty = {name: sample | {"mask": torch.zeros_like(sample["mask"])} for name, sample in batch.items()}
    losses = stage.losses(module, empty, torch.Generator())
    assert losses["photometric"] == 0.0
    torch.stack(list(losses.values())).sum().backward()


@pytest.mark.parametrize(
    "values",
    [{"labelled": 1.0}, {"trim": 1.0}, {"crop_size": 8}, {"light_weight": -0.1}, {"points": False, "image": False}],
)
def test_impossible_values(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        geometry.Config(**values)  # type: ignore[arg-type]
