"""The photograph on the chart, its light, and what is found beside the skin, against pictures of a known avatar."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from mosar.models.colour import to_linear
from mosar.models.face_classes import CLASSES
from mosar.models.morphable import pretrained
from mosar.models.reconstruct import seen as look_module
from mosar.models.reconstruct.cues import sclera_colour, thumbnail
from mosar.models.reconstruct.estimate import Estimate, Settings
from mosar.models.reconstruct.eyes import eyes_map, mouth_map
from mosar.models.reconstruct.light import see
from mosar.models.reconstruct.refine import Fit
from mosar.models.reconstruct.seen import look
from mosar.models.relight import uniform_light
from mosar.models.stages.geometry.network import Parameters
from mosar.models.stages.geometry.points_network import Normal
from mosar.models.uv import chart

CROP, TEXELS = 256, 128
ALBEDO = (0.35, 0.22, 0.16)


@pytest.fixture(scope="module")
def avatar(head, avatar_of):
    """The template with even skin and dots, under white light from everywhere and a little more from the left."""
    diffuse = torch.tensor(ALBEDO)[None, :, None, None].expand(1, 3, TEXELS, TEXELS).clone()
    diffuse[:, :, ::16, ::16] *= 0.5
    light = uniform_light(1)
    light[:, 3] = 0.8
    return avatar_of(torch.tensor(head.template_v3)[None], diffuse, 0.35, light)


@pytest.fixture(scope="module")
def estimate_of(portrait_of):
    def make(avatar, gain=1.0):
        zero = torch.zeros(1, 64)
        codes = Normal(zero, zero)
        found = Parameters(codes, codes, zero, uniform_light(1), avatar.camera.rotation_b33, torch.zeros(1, 3))
        fit = Fit(found, avatar.vertices_1v3, avatar.vertices_1v3, avatar.camera, torch.eye(64), 0.0, 0.0)
        return Estimate(avatar.head, portrait_of(avatar, gain), Settings(64, CROP, 0, 512), fit)

    return make


@pytest.fixture(scope="module")
def morphable(head):
    return pretrained.load(head)


@pytest.fixture(scope="module")
def seen_once(avatar, morphable, estimate_of):
    return see([estimate_of(avatar)], morphable)[0]


def test_only_skin_is_seen_and_in_its_colours(avatar, portrait_of):
    seen = look(avatar.head, portrait_of(avatar), avatar.vertices_1v3, avatar.camera, 512)
    assert seen.colour_13hw.shape[-1] == 512
    sure = seen.weight_11hw > 0.99
    assert 0.15 < float(sure.float().mean()) < 0.6
    colours = seen.colour_13hw[:, :, sure[0, 0]]
    ratio = colours / torch.tensor(ALBEDO)[None, :, None]
    assert 0.8 < float(ratio.median()) < 1.5
    hidden = torch.from_numpy(avatar.head.region("interior") | avatar.head.region("neck"))
    texels = chart(avatar.head, 512).triangle_hw
    inner = hidden[torch.tensor(avatar.head.triangles_f3)].all(1)[texels.clamp_min(0)] & (texels >= 0)
    assert float(seen.weight_11hw[0, 0][inner].mean()) < 0.05


def test_clipped_pixels_are_not_seen(avatar, portrait_of):
    portrait = portrait_of(avatar)
    bright = portrait.photograph_hw3.clone()
    bright[100:140, 100:150] = 255
    plain, clipped = (
        look(avatar.head, p, avatar.vertices_1v3, avatar.camera, 512).weight_11hw
        for p in (portrait, replace(portrait, photograph_hw3=bright))
    )
    assert float((plain - clipped).max()) > 0.99
    assert bool((clipped <= plain + 0.2).all())


def test_bands_make_no_difference(avatar, monkeypatch, portrait_of):
    portrait = portrait_of(avatar)
    whole = look(avatar.head, portrait, avatar.vertices_1v3, avatar.camera, 512)
    monkeypatch.setattr(look_module, "_BAND", 7 * CROP)
    banded = look(avatar.head, portrait, avatar.vertices_1v3, avatar.camera, 512)
    for name in ("colour_13hw", "weight_11hw"):
        torch.testing.assert_close(getattr(banded, name), getattr(whole, name), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(97, 130), (64, 64), (40, 333)])
def test_a_thumbnail_is_the_mean_over_areas(size):
    picture = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = interpolate(picture.permute(2, 0, 1)[None] / 255.0, size=(64, 64), mode="area")
    torch.testing.assert_close(thumbnail(picture, 64), expected)


def test_the_size_follows_the_photograph(avatar, portrait_of):
    portrait = portrait_of(avatar)
    assert look(avatar.head, portrait, avatar.vertices_1v3, avatar.camera, None).colour_13hw.shape[-1] == 512


def test_light_and_tone_explain_the_picture(avatar, seen_once):
    """Divided by its light the even texture is even: the lamp from the left is in the light, not in the skin."""
    seen, light = seen_once.seen, seen_once.lighting
    sure = seen.small_weight_11hw[0, 0] > 0.95
    even = light.even(seen.small_colour_13hw)[0].mean(0)
    left, right = (sure & side for side in (halves(sure, True), halves(sure, False)))
    before = seen.small_colour_13hw[0].mean(0)
    assert abs(float(even[left].mean() / even[right].mean()) - 1) < 0.25 * abs(
        float(before[left].mean() / before[right].mean()) - 1
    )
    assert seen_once.tone.low < seen_once.tone.luminance < seen_once.tone.high


def halves(like, left):
    columns = torch.arange(like.shape[1]).expand_as(like)
    return columns < like.shape[1] // 2 if left else columns >= like.shape[1] // 2


def test_a_darker_picture_is_darker_light(avatar, morphable, seen_once, estimate_of):
    (darker,) = see([estimate_of(avatar, 0.5)], morphable)
    assert float(darker.light_1lc[0, 0].mean() / seen_once.light_1lc[0, 0].mean()) < 0.75
    assert darker.tone.luminance / seen_once.tone.luminance > 0.6


def test_photographs_of_a_person_share_the_tone(avatar, morphable, seen_once, estimate_of):
    alone = see([estimate_of(avatar, 0.5)], morphable)[0]
    first, darker = see([estimate_of(avatar), estimate_of(avatar, 0.5)], morphable)
    assert first.tone == darker.tone
    low, high = sorted([alone.tone.luminance, seen_once.tone.luminance])
    assert low < first.tone.luminance < high
    # The light explains the same picture with the shared tone.
    for shared, own in ((first, seen_once), (darker, alone)):
        before = own.light_1lc[0, 0] * torch.tensor(own.tone.albedo_3)
        torch.testing.assert_close(shared.light_1lc[0, 0] * torch.tensor(shared.tone.albedo_3), before)


def test_creases_are_occluded_by_the_persons_own_geometry(avatar, seen_once):
    head = avatar.head
    texels = chart(head, 512).triangle_hw
    ao = seen_once.ao_11hw[0, 0]

    def mean(region):
        member = torch.tensor(head.region(region))[torch.tensor(head.triangles_f3)].all(1)
        return float(ao[member[texels.clamp_min(0)] & (texels >= 0)].mean())

    assert mean("forehead") > 0.9
    assert mean("interior") < 0.6 * mean("forehead")


def test_eyes_take_the_colour_of_the_photograph(avatar, seen_once):
    """Blue eyes in the picture make the iris of the map bluer; the sclera stays white."""
    blue = seen_once.portrait.crop_13hw.clone()
    points = seen_once.portrait.points_1n3[0]
    rows, columns = torch.arange(CROP)[:, None] + 0.5, torch.arange(CROP)[None] + 0.5
    spread = {468: (469, 470, 471, 472), 473: (474, 475, 476, 477)}
    points = points.clone()
    eyes = seen_once.portrait.classes_1khw[0, CLASSES.index("eyes")] > 0.5
    for number, (centre, ring) in enumerate(spread.items()):
        side = eyes & ((columns > CROP / 2) if number else (columns < CROP / 2))
        y, x = side.nonzero().float().mean(0) + 0.5
        points[centre, :2] = torch.stack([x, y])
        for k, (dx, dy) in zip(ring, ((4, 0), (0, 4), (-4, 0), (0, -4)), strict=True):
            points[k, :2] = torch.stack([x + dx, y + dy])
        disc = ((rows - y) ** 2 + (columns - x) ** 2 < 16) & side
        blue[0, :, disc] = torch.tensor([0.25, 0.4, 0.6])[:, None]
    changed = replace(seen_once.portrait, crop_13hw=blue, points_1n3=points[None], to_crop_133=0.2 * torch.eye(3)[None])
    found = eyes_map(replace(seen_once, portrait=changed))
    before = avatar.head.eyes_albedo_hw3
    assert found.shape == before.shape
    linear, old = (to_linear(torch.tensor(np.array(m)) / 255.0) for m in (found, before))
    iris = (old.mean(-1) < 0.12) & (old.mean(-1) > 0.03)
    assert float((linear[iris][:, 2] / linear[iris][:, 0]).median()) > 1.5 * float(
        (old[iris][:, 2] / old[iris][:, 0]).median()
    )
    colour, count = sclera_colour(seen_once.portrait)
    assert (colour is None) == (count == 0)


def test_teeth_are_darker_the_farther_back_they_are(avatar, seen_once):
    head = avatar.head
    maps = mouth_map(seen_once), head.mouth_albedo_hw3
    found, before = (to_linear(torch.tensor(np.array(m)) / 255.0) for m in maps)
    corners_v = np.unique(head.triangles_f3[head.material_f == head.material_names.index("mouth")])
    uv_v = np.zeros((len(head.template_v3), 2))
    uv_v[head.triangles_f3] = head.uv_w2[head.uv_triangles_f3]
    size = len(before)
    column, row = (uv_v[corners_v] * size).astype(int).clip(0, size - 1).T
    ratio = (found.mean(-1) / before.mean(-1))[size - 1 - row, column]
    depth = head.template_v3[corners_v, 2].max() - head.template_v3[corners_v, 2]
    teeth = before[size - 1 - row, column, 2] > 0.4 * before[size - 1 - row, column, 0]
    front, back = (teeth & torch.tensor(where) for where in (depth < 4, depth > 26))
    assert int(front.sum()) > 4
    assert int(back.sum()) > 4
    assert float(ratio[back].median()) < 0.3 * float(ratio[front].median())
