import dataclasses

import numpy as np
import pytest
import torch

from mosar.datasets import detection, lights, schema
from mosar.datasets.landmarks import Detector
from mosar.datasets.virtual_stage import noise, quantize, skin
from mosar.datasets.virtual_stage.camera_pipeline import snapshot
from mosar.datasets.virtual_stage.capture import VirtualStage, capture
from mosar.datasets.virtual_stage.geometry import Body
from mosar.datasets.virtual_stage.glasses import glasses
from mosar.datasets.virtual_stage.subjects import (
    HALF_RIMS,
    NO_RIMS,
    SURFACE,
    THICK_RIMS,
    THIN_RIMS,
    TONE_AXES,
    TONE_MEAN,
    TONE_STD,
    sample_expression,
    sample_subject,
    skin_tone,
    some_with_glasses,
)
from mosar.datasets.virtual_stage.uv_regions import atlas
from mosar.models.camera import Camera, project
from mosar.models.head import load_head
from mosar.models.head.morph import landmarks

SIZE = 96
GROUPS = {
    "African": (0.186, 0.098, 0.064), "South Asian": (0.346, 0.197, 0.129), "Iraqi": (0.378, 0.214, 0.153),
    "Thai": (0.383, 0.221, 0.145), "Chinese": (0.415, 0.242, 0.171), "Arabian": (0.432, 0.238, 0.164),
    "Caucasian": (0.446, 0.255, 0.195), "Japanese": (0.473, 0.279, 0.203),
}  # fmt: skip


@pytest.fixture(scope="module")
def head():
    return load_head()


@pytest.fixture(scope="module")
def detector():
    with Detector() as found:
        yield found


@pytest.fixture(scope="module")
def shot(head):
    subject = sample_subject(head, 4)
    stage = VirtualStage(head, SIZE, 96, lights.TRAIN_LIGHTS)
    return capture(stage, subject, skin.paint(atlas(head, SIZE), subject), 0)


def test_bare_skin_lies_in_the_measured_range(head):
    inside, total = 0, 0
    for seed in range(24):
        painted = skin.paint(atlas(head, SIZE), sample_subject(head, seed))
        reflectance = painted.diffuse_n3[painted.bare_n > 0.95] + SURFACE
        box = ((reflectance >= skin.RANGE[0]) & (reflectance <= skin.RANGE[1])).all(1)
        apart = (np.log(reflectance) - TONE_MEAN) @ np.linalg.inv(TONE_AXES) / TONE_STD
        near = np.linalg.norm(apart, axis=1) < 3.5
        inside, total = inside + (box & near).sum(), total + len(box)
    assert total > 1000
    assert inside / total >= 0.98


def test_tones_reach_every_measured_group(head):
    tones = np.array([skin_tone(sample_subject(head, seed).tone) for seed in range(400)])
    for name, mean in GROUPS.items():
        nearest = np.abs(np.log((tones + SURFACE) / np.array(mean))).max(1).min()
        assert nearest < 0.1, name
    darkness = np.array([sample_subject(head, seed).tone[0] for seed in range(400)])
    counts, _ = np.histogram(darkness, 8)
    assert counts.min() > 25  # uniform over the range


def test_features_are_the_same_at_every_map_size(head):
    subject = sample_subject(head, 3)
    coarse, fine = atlas(head, 128), atlas(head, 512)
    inside = np.zeros(512 * 512, bool)
    inside[fine.inside_n] = True
    whole = inside.reshape(128, 4, 128, 4).all((1, 3))
    painted = [skin.paint(a, subject) for a in (coarse, fine)]
    for name, least in (("diffuse_n3", 0.998), ("specular_n", 0.99), ("height_n", 0.85)):
        small, large = (np.asarray(a.map(getattr(s, name))) for a, s in zip((coarse, fine), painted, strict=True))
        averaged = large.reshape(128, 4, 128, 4, -1).mean((1, 3))[whole].ravel()
        assert np.corrcoef(small[whole].ravel(), averaged)[0, 1] > least, name


@pytest.mark.parametrize("make", [noise.gradient_noise, noise.cells, noise.pits])
def test_noise_fades_to_its_mean_where_a_texel_is_too_large_for_it(make):
    points = np.random.default_rng(0).uniform(-50, 50, (2000, 3))
    whole, faded = make(points, 4.0, 1), make(points, 4.0, 1, 8.0)
    assert whole.std() > 0.05
    assert faded.std() < 1e-6
    assert abs(faded.mean() - whole.mean()) < 0.02


def test_spots_keep_their_mean_on_coarse_maps():
    points = np.random.default_rng(0).uniform(-60, 60, (200_000, 3))
    fine, coarse, coarser = (noise.spots(points, 8, (1, 2), 0.5, 1, texel).mean() for texel in (0.1, 2.0, 3.0))
    assert coarse == pytest.approx(fine, rel=0.12)  # texels as large as the largest spots
    assert coarser == pytest.approx(fine, rel=0.5)


def test_a_capture_is_a_valid_sample(head, shot, detector):
    sample, linear = shot
    seen = detection.observe(detector, schema.stored(sample["image"]))
    schema.validate(schema.encode(sample | seen), "lightstage")
    both = sample["landmarks"][:, 2] == 1
    off = np.linalg.norm(seen["detected"][both, :2] - sample["landmarks"][both, :2], axis=1)
    assert np.median(off) < 4  # px of 96
    assert linear.shape == (96, 96, 3)
    assert list(sample["capture"]["expression"]) == list(head.expression_names)
    assert 0.1 < (sample["mask"] > 0).mean() < 0.8
    assert sample["ao"].mean() > 100
    np.testing.assert_allclose(np.linalg.norm(sample["normal"], axis=-1), 1, atol=1e-5)
    assert sample["normal"][..., 2].mean() > 0.9


def test_the_classes_agree_with_mask_and_landmarks(head):
    """Someone with a beard, glasses and short hair in front of a background."""
    subject = sample_subject(head, 4)
    traits = {**subject.traits, "beard": 1.0, "moustache": 1.0, "glasses": 1.0, "rims": THICK_RIMS}
    subject = dataclasses.replace(subject, traits=traits, style="short", male=1.0)
    stage = VirtualStage(head, SIZE, 128, lights.TRAIN_LIGHTS)
    sample, _ = capture(stage, subject, skin.paint(atlas(head, SIZE), subject), 0)
    classes = sample["classes"]
    shares = {name: (classes == i).mean() for i, name in enumerate(schema.CLASSES)}
    for name in ("background", "skin", "lips", "eyes", "brows", "facial_hair", "scalp_hair", "glasses"):
        assert shares[name] > 5e-4, name
    assert shares["hand"] == shares["headwear"] == 0
    bare = np.isin(classes, [schema.CLASSES.index(n) for n in ("skin", "lips", "brows", "facial_hair")])
    assert ((sample["mask"] > 0) == bare).mean() > 0.95
    marks = sample["landmarks"]
    for name, points in (("lips", (0, 17, 61, 291)), ("brows", (105, 334)), ("skin", (4, 50, 280))):
        column, row = np.floor(marks[list(points), :2]).astype(int).T
        around = [classes[r - 2 : r + 3, c - 2 : c + 3] for r, c in zip(row, column, strict=True)]
        assert all((box == schema.CLASSES.index(name)).any() for box in around), name


def test_as_many_people_as_asked_for_wear_glasses_and_stay_the_same(head):
    person = sample_subject(head, 4)
    wearing = [some_with_glasses(dataclasses.replace(person, seed=seed), 0.7).traits["glasses"] for seed in range(300)]
    assert 0.6 < np.mean(wearing) < 0.8
    assert some_with_glasses(person, 0.0).traits == {**person.traits, "glasses": 0.0}
    assert some_with_glasses(person, 1.0).traits == {**person.traits, "glasses": 1.0}


def test_frames_have_as_much_rim_as_their_kind(head, shot):
    sample, _ = shot
    eye = np.array([0.0, 0.0, 1000.0])
    body = Body(sample["mesh"].astype(np.float64), sample["mesh"], np.ones_like(sample["mesh"]), eye, 1.0)
    subject = sample_subject(head, 4)
    count = []
    for rims in (THICK_RIMS, THIN_RIMS, HALF_RIMS, NO_RIMS):
        worn = {**subject.traits, "glasses": 1.0, "rims": rims}
        prop = glasses(head, dataclasses.replace(subject, traits=worn), body)
        assert np.isfinite(prop.vertices_x3).all()
        count.append(len(prop.vertices_x3))
    assert count[0] == count[1] > count[2] > count[3] > 0


def test_landmarks_are_the_projected_landmarks_of_the_mesh(head, shot):
    sample, _ = shot
    view = sample["camera"]
    camera = Camera(*(torch.tensor([view[k]]) for k in ("intrinsics", "rotation", "translation_mm")))
    points = landmarks(head, torch.from_numpy(sample["mesh"])[None])
    seen = sample["landmarks"][:, 2] > 0
    assert seen.sum() > 300
    np.testing.assert_allclose(project(camera, points)[0, seen].numpy(), sample["landmarks"][seen, :2], atol=0.05)


def test_stored_values_are_the_rounded_ones_that_were_drawn(shot):
    sample, _ = shot
    for name in ("mesh", "neutral"):
        np.testing.assert_array_equal(sample[name], quantize.quantize(sample[name], quantize.POINT_BITS))
    for name in ("intrinsics", "rotation", "translation_mm"):
        np.testing.assert_array_equal(np.round(sample["camera"][name], 8), sample["camera"][name])
    weights = np.array(list(sample["capture"]["expression"].values()))
    np.testing.assert_array_equal(weights.round(4), weights)


def test_people_are_convex_mixtures_on_a_grid(head):
    for seed in range(20):
        subject = sample_subject(head, seed)
        assert subject.archetype_a.astype(np.float64).sum() == 1
        assert subject.archetype_a.min() >= 0
        np.testing.assert_array_equal(subject.mode_m * 4096, np.rint(subject.mode_m * 4096))


def test_the_same_seed_gives_the_same_bytes(head, shot, detector):
    subject = sample_subject(head, 4)
    again, linear = capture(
        VirtualStage(head, SIZE, 96, lights.TRAIN_LIGHTS), subject, skin.paint(atlas(head, SIZE), subject), 0
    )
    assert schema.encode(again) == schema.encode(shot[0])
    assert schema.encode(snapshot(again, linear, 5, detector)) == schema.encode(snapshot(*shot, 5, detector))


def test_a_snapshot_has_no_ground_truth(shot, detector):
    members = schema.encode(snapshot(*shot, 5, detector))
    schema.validate(members, "wild")
    np.testing.assert_array_equal(*(schema.decode_member(members, n)[:, :2] for n in ("landmarks", "detected")))
    assert set(schema.decode_member(members, "capture")) == {"subject", "source", "licence"}
    assert not np.allclose(schema.decode_member(members, "camera")["intrinsics"], shot[0]["camera"]["intrinsics"])


def test_expression_weights_lie_between_0_and_1(head):
    drawn = np.array([sample_expression(head, np.random.default_rng(s)) for s in range(200)])
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert (drawn.max(0) > 0).mean() > 0.8
