import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mosar.errors import ConfigError
from mosar.models.camera import Camera, project
from mosar.models.head import load_head
from mosar.models.head.morph import landmarks
from mosar.models.morphable.synthetic_people import sample_people
from mosar.models.stages import geometry, morphable
from mosar.models.stages.geometry.network import Geometry, camera_of, image_position, rotation_from_six
from mosar.models.stages.geometry.render import render_skin

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
        "intrinsics": camera.intrinsics_b33,
    }
    truth = {"mesh": mesh, "rotation": camera.rotation_b33, "translation": camera.translation_b3, "light": light}
    return {"lightstage": wild | truth, "wild": wild}


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


def test_six_numbers_are_a_rotation() -> None:
    rotation = rotation_from_six(torch.randn(50, 6, dtype=torch.float64))
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(50, dtype=torch.float64))


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
    assert end["landmarks"] < start["landmarks"]
    image = batch["wild"]["image"] / 255.0
    one, other = (module(image, torch.full((4, 478, 2), x)) for x in (0.4, 0.6))
    assert (one.image_position_b3 - other.image_position_b3).abs().max() > 1e-4
    assert (one.light_b81c[0] - one.light_b81c[1]).abs().max() > 1e-6  # other pixels, same landmarks


def test_gradients(stage: geometry.Stage, module: Geometry, batch: dict[str, Sample]) -> None:
    torch.nn.init.normal_(module.out.weight, std=0.02)
    torch.stack(list(stage.losses(module, batch, torch.Generator()).values())).sum().backward()
    for name, parameter in module.named_parameters():
        if name.startswith("morphable."):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


def test_landmarks_can_be_switched_off(parent: torch.nn.Module, batch: dict[str, Sample]) -> None:
    config = geometry.Config(width=8, blocks=(1, 1, 1, 1), crop_size=SIZE, render_size=32, landmarks=False)
    module = geometry.Stage(config, load_head()).build({"morphable": parent})
    image = batch["wild"]["image"] / 255.0
    one, other = (module(image, torch.full((4, 478, 2), x)) for x in (0.4, 0.6))
    assert torch.equal(one.image_position_b3, other.image_position_b3)


def test_an_empty_mask_is_accepted(stage: geometry.Stage, module: Geometry, batch: dict[str, Sample]) -> None:
    empty = {name: sample | {"mask": torch.zeros_like(sample["mask"])} for name, sample in batch.items()}
    losses = stage.losses(module, empty, torch.Generator())
    assert losses["photometric"] == 0.0
    torch.stack(list(losses.values())).sum().backward()


@pytest.mark.parametrize("values", [{"labelled": 1.0}, {"trim": 1.0}, {"crop_size": 8}, {"light_weight": -0.1}])
def test_impossible_values(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        geometry.Config(**values)  # type: ignore[arg-type]
