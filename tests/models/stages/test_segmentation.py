from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mosar.config import parse
from mosar.errors import ConfigError
from mosar.models import face_outlines
from mosar.models.face_classes import CLASSES
from mosar.models.losses import total
from mosar.models.stages.segmentation import Config, Stage
from mosar.models.stages.segmentation.augmentation import fade, photometric, swap_backgrounds
from mosar.models.stages.segmentation.drawn_landmarks import draw
from mosar.models.stages.segmentation.inference import classify
from mosar.models.stages.segmentation.network import Segmentation, cut, paste, window

RECIPES = Path(__file__).parents[3] / "jobs" / "config" / "recipe" / "segmentation"
SIZE = 48
NUMBER = {name: i for i, name in enumerate(CLASSES)}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def crops(count, seed):
    """Discs of skin with hair above, before a background, in colours of their own; the landmarks outline the disc."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    images, classes, points = [], [], []
    for _ in range(count):
        cx, cy, r = random.uniform(20, 28), random.uniform(24, 30), random.uniform(11, 15)
        label = np.full((SIZE, SIZE), NUMBER["background"])
        label[(x - cx) ** 2 + (y - cy + 4) ** 2 < (r + 3) ** 2] = NUMBER["scalp_hair"]
        label[(x - cx) ** 2 + (y - cy - 2) ** 2 < r**2] = NUMBER["skin"]
        colours = np.array([[60, 90, 140], [200, 150, 120], [50, 40, 30]]) + random.integers(-30, 30, (3, 3))
        index = np.select([label == NUMBER["skin"], label == NUMBER["scalp_hair"]], [1, 2], 0)
        images.append(np.clip(colours[index] + random.normal(0, 6, (SIZE, SIZE, 3)), 0, 255).transpose(2, 0, 1))
        label[0] = 255  # not known
        classes.append(label[None])
        points.append(np.full((478, 3), 1.0) * [cx, cy, 1])
        angle = np.linspace(0, 2 * np.pi, len(face_outlines.OVAL), endpoint=False)
        points[-1][list(face_outlines.OVAL), :2] = np.stack([cx + r * np.sin(angle), cy + 2 - r * np.cos(angle)], 1)
    landmarks = torch.tensor(np.stack(points)).float()
    return {
        "lightstage": {
            "image": torch.tensor(np.stack(images)).byte(),
            "classes": torch.tensor(np.stack(classes)).byte(),
            "landmarks": landmarks,
            "detected": landmarks.clone(),
            "found": torch.ones(count, 1),
        }
    }


@pytest.fixture
def trained(head):
    config = parse(Config, yaml.safe_load((RECIPES / "tiny.yaml").read_text())["model"])
    stage = Stage(replace(config, crop_size=SIZE), head)
    torch.manual_seed(0)
    network = stage.build({})
    stage.fit_statistics(network, [crops(8, seed) for seed in (1, 2)])
    return stage, network


def test_outlines_are_filled():
    points = torch.zeros(1, 478, 2)
    n = len(face_outlines.OVAL)
    angle = torch.arange(n) * (2 * torch.pi / n)
    points[0, list(face_outlines.OVAL)] = torch.stack([20 + 9 * angle.cos(), 16 + 9 * angle.sin()], -1)
    disc = draw(points, 40)[0, 0]
    y, x = (torch.arange(40) + 0.5)[:, None], (torch.arange(40) + 0.5)[None]
    off = (x - 20) ** 2 + (y - 16) ** 2
    assert bool((disc[off < 8.7**2] == 1).all())
    assert bool((disc[off > 9.1**2] == 0).all())


def test_it_learns_classes_of_other_pictures(trained):
    stage, network = trained
    held_out = crops(6, 9)
    start = stage.metrics(network, held_out, generator())
    assert float(start["loss"]) == pytest.approx(float(stage.baseline(network, held_out, generator())), rel=0.25)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for step in range(30):
        optimiser.zero_grad()
        losses = stage.losses(network, crops(4, 100 + step % 4), generator(step))
        assert all(bool(v.isfinite()) for v in losses.values())
        total(losses).backward()
        optimiser.step()
    end = stage.metrics(network, held_out, generator())
    assert float(end["loss"]) < 0.7 * float(stage.baseline(network, held_out, generator()))
    assert float(end["iou_skin"]) > 0.75
    assert all(p.grad is not None for p in network.parameters())
    picture = stage.preview(network, held_out, generator())
    assert picture.shape[0] == 3
    assert float(picture.std()) > 0.05


def test_a_mirrored_picture_has_mirrored_classes(trained):
    _, network = trained
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    sample = crops(1, 3)["lightstage"]
    image, landmarks = sample["image"] / 255.0, sample["landmarks"][..., :2]
    mirrored = torch.stack([SIZE - landmarks[..., 0], landmarks[..., 1]], dim=-1)
    found, other = classify(network, image, landmarks), classify(network, image.flip(-1), mirrored)
    torch.testing.assert_close(found, other.flip(-1), atol=1e-5, rtol=1e-4)
    assert float((found - found.flip(-1)).abs().max()) > 0.05


def test_a_window_holds_the_eyes_and_stays_inside():
    points = torch.zeros(3, 478, 2)
    for n, (x, y) in enumerate([(24.0, 20.0), (1.0, 2.0), (47.0, 46.0)]):
        points[n] = torch.tensor([x, y])
    near = window(points, SIZE)
    number = torch.arange(float(SIZE * SIZE)).reshape(1, 1, SIZE, SIZE).expand(3, -1, -1, -1)
    part = cut(number, near)
    assert part.shape == (3, 1, 12, 28)
    row, column = part[:, 0] // SIZE, part[:, 0] % SIZE
    assert (row[0].min(), row[0].max(), column[0].min(), column[0].max()) == (14, 25, 10, 37)
    assert (row[1].min(), column[1].min()) == (0, 0)
    assert (row[2].max(), column[2].max()) == (SIZE - 1, SIZE - 1)
    assert bool((column.diff(dim=2) == 1).all())
    assert bool((row.diff(dim=1) == 1).all())
    changed = paste(number, part + 0.5, near)
    inside = torch.zeros_like(number).flatten(2).scatter(2, near[:, None], 1.0).reshape_as(number)
    assert torch.equal(changed, number + 0.5 * inside)


def test_eyes_are_seen_at_full_resolution(trained):
    """A change that the reduced crop averages away changes classes around the eyes."""
    stage, _ = trained
    torch.manual_seed(0)
    network = Segmentation(replace(stage.config, coarse_size=32, crop_size=64)).eval()
    points = torch.full((1, 478, 2), 32.0)
    image = torch.full((1, 3, 64, 64), 0.5)
    image[..., ::4] = 0.2
    fine = image.clone()
    fine[..., 30, 30:34] += torch.tensor([0.2, -0.2, 0.2, -0.2])
    change = []
    for _ in range(2):
        with torch.no_grad():
            change.append((network(fine, points) - network(image, points)).abs()[0, :, 28:33, 27:37].mean())
        network.eyes = None
    assert float(change[0]) > 3 * float(change[1])


def test_the_network_around_the_eyes_learns_alone_at_a_finer_size(trained, head):
    """The shapes of the weights do not depend on the crop's size; the first network stays as it starts."""
    stage, network = trained
    alone = Stage(replace(stage.config, crop_size=96, coarse_size=SIZE, eyes_alone=True), head)
    finer = alone.build({})
    finer.load_state_dict(network.state_dict())
    assert alone.streams["lightstage"].crop_size == 96
    batch = crops(2, 5)["lightstage"]
    doubled = {name: batch[name].repeat_interleave(2, -1).repeat_interleave(2, -2) for name in ("image", "classes")}
    points = {name: 2 * batch[name] for name in ("landmarks", "detected")}
    total(alone.losses(finer, {"lightstage": {**batch, **doubled, **points}}, generator())).backward()
    assert all(p.grad is None for p in finer.network.parameters())
    assert all(p.grad is not None for p in finer.eyes.parameters())
    with pytest.raises(ConfigError, match="eyes_alone"):
        replace(stage.config, eyes=None, eyes_alone=True)
    with pytest.raises(ConfigError, match="warm_start"):
        alone.fit_statistics(finer, [crops(2, 5)])


def test_weights_with_as_many_frequencies_as_pixels_still_load(trained):
    stage, network = trained
    state = network.state_dict()
    large = state["frequency_1khw"].repeat_interleave(3, -1).repeat_interleave(3, -2)
    again = stage.build({})
    again.load_state_dict({**state, "frequency_1khw": large})
    torch.testing.assert_close(again.frequency_1khw, state["frequency_1khw"])


def test_unknown_pixels_do_not_count(trained):
    stage, network = trained
    batch = crops(4, 3)
    classes = batch["lightstage"]["classes"].clone()
    lower = classes.clone()
    lower[..., 30:, :] = 255
    nothing = torch.full_like(classes, 255)
    first, second = (
        stage.metrics(network, {"lightstage": batch["lightstage"] | {"classes": c}}, generator())["loss"]
        for c in (classes, lower)
    )
    assert not torch.equal(first, second)
    unknown = stage.metrics(network, {"lightstage": batch["lightstage"] | {"classes": nothing}}, generator())
    assert float(unknown["iou_skin"]) == 1.0


def test_missed_faces_take_the_true_points(trained):
    stage, network = trained
    batch = crops(2, 4)
    missed = {"lightstage": batch["lightstage"] | {"detected": torch.zeros(2, 478, 3), "found": torch.zeros(2, 1)}}
    assert torch.equal(
        stage.metrics(network, batch, generator())["loss"], stage.metrics(network, missed, generator())["loss"]
    )


def test_augmentation_is_repeatable_and_stays_in_range():
    image = torch.rand(6, 3, 64, 64, generator=generator())
    behind = torch.zeros(6, 1, 64, 64)
    behind[..., :20] = 1
    swapped = swap_backgrounds(image, behind, 1.0, generator(1))
    assert torch.equal(swapped[..., 20:], image[..., 20:])
    assert float((swapped - image)[..., :20].abs().mean()) > 0.1
    assert torch.equal(swap_backgrounds(image, behind, 0.0, generator(1)), image)
    one, again = (photometric(image, 1.0, generator(2)) for _ in range(2))
    assert torch.equal(one, again)
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1
    assert float((one - image).abs().mean()) > 0.02


def test_frames_come_near_the_colours_around_them():
    image = torch.full((16, 3, SIZE, SIZE), 0.6)
    frames = torch.zeros(16, 1, SIZE, SIZE)
    frames[..., 20:22, 10:40] = 1.0
    frames[..., 30:48, 20:40] = 1.0  # too thick to see what is beside it
    drawn = torch.where(frames > 0, 0.3, image)
    found = fade(drawn, frames, 1.0, generator())
    assert torch.equal(found[:, :, :18], drawn[:, :, :18])
    rims = found[:, 0, 20, 20]
    assert 0.3 <= float(rims.min()) < float(rims.max()) < 0.6
    assert float(rims.std()) > 0.03
    assert float(found.min()) >= 0.3
    assert torch.equal(found[:, :, 40, 30], drawn[:, :, 40, 30])
    assert torch.equal(fade(drawn, frames, 0.0, generator()), drawn)
    some = (fade(drawn, frames, 0.5, generator())[:, 0, 20, 20] > 0.3).float().mean()
    assert 0.2 < float(some) < 0.8


@pytest.mark.parametrize("preset", ["tiny", "cpu", "paper"])
def test_recipes_parse(preset, head):
    config = parse(Config, yaml.safe_load((RECIPES / f"{preset}.yaml").read_text())["model"])
    assert Stage(config, head).streams["lightstage"].crop_size == config.crop_size
