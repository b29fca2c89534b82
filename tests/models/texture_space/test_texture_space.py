import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import interpolate, normalize

from mosar.models.colour import LUMINANCE, to_srgb
from mosar.models.relight import uniform_light
from mosar.models.shading import sh
from mosar.models.texture_space import (
    AverageSkin,
    Photographed,
    brightness_ratio,
    degrade,
    fill,
    fill_large,
    light_normalized,
    lighting,
    mirror_some,
    photographed,
    pull_push,
    radiance,
    random_eyes,
    random_known,
    read_skin,
    shading,
    skin_texels,
    subsample,
)
from mosar.models.texture_space.cast_shadows import cast_shadows
from mosar.models.texture_space.lighting import SPECULAR


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_light_normalized_equals_radiance_under_uniform_light_seen_along_the_normal(head, sample):
    skin = read_skin(sample, head)
    # One camera cannot look along every texel's normal; the two agree where the surface faces the camera.
    eye = torch.tensor([[0.0, 0.0, 1e6], [0.0, 0.0, 1e6]])
    seen, even = radiance(skin, uniform_light(2), eye), light_normalized(skin)
    facing = (skin.world_normal_b3hw[:, 2:] > 0.998) & (skin.inside_11hw > 0)
    assert int(facing.sum()) > 4
    torch.testing.assert_close(seen[facing.expand_as(seen)], even[facing.expand_as(even)], rtol=2e-3, atol=0)
    assert bool((even[(skin.inside_11hw == 0).expand_as(even)] == 0).all())


def test_radiance_is_linear_in_light_and_bounded_at_the_rim(head, sample):
    skin = read_skin(sample, head)
    eye = random_eyes(2, generator())
    once, twice = (radiance(skin, gain * uniform_light(2), eye) for gain in (1.0, 2.0))
    torch.testing.assert_close(twice, 2 * once)
    assert float(once.max()) < 1.3 * float(light_normalized(skin).max())  # no bright rim at grazing texels


def test_shading_is_one_under_uniform_light_and_the_cosine_under_a_lamp(head, sample):
    normal = read_skin(sample, head).surface.normal_b3hw
    inside = normal.norm(dim=1, keepdim=True) > 0.5
    one = shading(uniform_light(2), normal)
    torch.testing.assert_close(one[inside.expand_as(one)], torch.ones(int(inside.sum()) * 3), rtol=1e-4, atol=1e-4)
    lamp = sh.directional(torch.tensor([[0.0, 0.0, 1.0]] * 2), torch.full((2, 3), math.pi))
    torch.testing.assert_close(shading(lamp, normal)[:, 0], normal[:, 2].clamp_min(0) * inside[:, 0], atol=0.04, rtol=0)


def test_a_subsample_has_the_radiance_of_all_texels(head, sample):
    skin = read_skin(sample, head)
    eye = random_eyes(2, generator())
    torch.testing.assert_close(
        radiance(subsample(skin, 3), uniform_light(2), eye), radiance(skin, uniform_light(2), eye)[..., ::3, ::3]
    )


def test_known_texels_face_the_camera(head, sample):
    skin = read_skin(sample, head)
    eye = random_eyes(2, generator())
    known = random_known(skin.surface, skin.inside_11hw, eye, generator())
    views = normalize(eye[:, :, None, None] - skin.surface.position_b3hw, dim=1)
    assert set(known.unique().tolist()) == {0.0, 1.0}
    assert float((views * skin.surface.normal_b3hw).sum(dim=1, keepdim=True)[known > 0].min()) > 0.2
    assert float(eye[:, 2].min()) > 0


def estimates(sample, gain=1.0):
    """Right estimates of pictures under uniform light of radiance ``gain``, seen along the normals."""
    return sample | {
        "unwrapped": (to_srgb((gain * 0.4 * torch.ones(2, 3, 48, 48)).clamp(0, 1)) * 255).round().to(torch.uint8),
        "seen": torch.full_like(sample["ao"], 255),
        "estimate_ao": torch.full_like(sample["ao"], 255),
        "estimate_mesh": sample["mesh"],
        "estimate_light": gain * uniform_light(2),
        "estimate_eye": torch.tensor([[0.0, 0.0, 1e4]] * 2),
        "light": uniform_light(2),
    }


def test_an_unwrapped_picture_divided_by_its_estimated_light_is_even(head, sample):
    found = photographed(estimates(sample, 0.5), head, generator(), Photographed(estimated_share=1.0))
    front = (found.skin.surface.normal_b3hw[:, 2:] > 0.9).expand(-1, 3, -1, -1)
    even = found.light.even(found.lit_b3hw)
    assert int(front.sum()) > 10
    torch.testing.assert_close(even[front], torch.full_like(even[front], 0.4), atol=0.02, rtol=0)
    assert bool(found.estimated_b.all())
    # Another exposure changes the picture, and the light alike.
    again = photographed(estimates(sample, 0.5), head, generator(1), Photographed(estimated_share=1.0))
    assert float((again.lit_b3hw - found.lit_b3hw)[front].abs().mean()) > 0.01
    torch.testing.assert_close(again.light.even(again.lit_b3hw)[front], even[front], atol=0.02, rtol=0)


def test_a_hole_is_to_be_filled_in_the_tone_of_the_picture(head, sample):
    bright = photographed(estimates(sample), head, generator(), Photographed(estimated_share=1.0))
    even = bright.light.even(bright.clean_b3hw)
    inside = (bright.known_b1hw > 0).expand_as(even)
    torch.testing.assert_close(even[inside].mean(), torch.tensor(0.4), atol=0.02, rtol=0)


def test_estimated_and_relit_captures_stay_in_their_places(head, sample):
    """Which captures of a batch are seen through an estimate is random; each keeps its own maps."""
    dark = sample | {"diffuse": torch.stack([sample["diffuse"][0], sample["diffuse"][1] // 3])}
    kinds = set()
    for seed in range(8):
        found = photographed(estimates(dark), head, generator(seed), Photographed(estimated_share=0.5))
        kinds.add(tuple(found.estimated_b.tolist()))
        for number, estimated in enumerate(found.estimated_b.tolist()):
            spread = found.lit_b3hw[number][:, found.known_b1hw[number, 0] > 0].std(dim=1)
            assert bool((spread < 1e-3).all()) == estimated
    assert len(kinds) > 2


def test_mirroring_turns_all_maps_of_a_capture_alike():
    one, two = (torch.rand(6, c, 8, 8, generator=generator(c)) for c in (1, 3))
    fixed = torch.rand(1, 1, 8, 8)
    a, b, c = mirror_some([one, two, fixed], generator())
    turned = [torch.equal(x, y.flip(-1)) for x, y in zip(a, one, strict=True)]
    assert 0 < sum(turned) < 6
    assert turned == [torch.equal(x, y.flip(-1)) for x, y in zip(b, two, strict=True)]
    assert torch.equal(c, fixed)


def test_brightness_ratio_tells_luminance_and_not_hue(sample):
    grey, red = torch.full((1, 3, 4, 4), 0.2), torch.zeros(1, 3, 4, 4)
    red[:, 0] = 0.2 / LUMINANCE[0]
    ones = torch.ones(1, 1, 4, 4)
    torch.testing.assert_close(brightness_ratio(red, grey, ones), torch.ones(1, 1, 1, 1))
    torch.testing.assert_close(brightness_ratio(2 * grey, grey, ones).flatten(), torch.tensor([2.0]))


def test_cast_shadows_darken_half_of_the_pictures_and_never_brighten():
    lit = torch.full((64, 3, 32, 32), 0.5)
    ratio = cast_shadows(lit, generator()) / lit
    assert float(ratio.max()) <= 1
    assert float(ratio.min()) < 0.5
    darkened = (ratio.flatten(1).amin(dim=1) < 0.999).float().mean()
    assert 0.3 < float(darkened) < 0.6
    assert bool((ratio[:, 0] >= ratio[:, 2] - 1e-6).all())  # skin scatters red light into shadows


def half_known(size=64):
    known = torch.zeros(1, 1, size, size)
    known[..., size // 8 : 7 * size // 8, size // 8 : 11 * size // 16] = 1
    return known


def test_fill_keeps_what_is_known_and_mirrors_the_rest():
    texture = torch.rand(1, 3, 64, 64, generator=generator())
    texture = 0.5 * (texture + texture.flip(-1))  # a symmetric face
    known = half_known()
    average = torch.full_like(texture, 0.5)
    filled = fill(torch.where(known > 0, texture, float("nan")), known, average)
    assert bool(filled.texture_bchw.isfinite().all())
    inner = (filled.known_b1hw == 1).expand_as(texture)
    torch.testing.assert_close(filled.texture_bchw[inner], texture[inner])
    mirrored = (filled.mirrored_b1hw == 1).expand_as(texture)
    assert int(mirrored.sum()) > 100
    torch.testing.assert_close(filled.texture_bchw[mirrored], texture[mirrored], atol=0.02, rtol=0)
    assert bool((filled.known_b1hw[known == 0] == 0).all())


def test_fill_joins_the_mirrored_side_without_a_seam():
    ramp = torch.linspace(0.2, 0.8, 64).expand(1, 3, 64, 64)  # light from one side
    known = torch.zeros(1, 1, 64, 64)
    known[..., 24:] = 1
    step = fill(ramp, known, torch.full_like(ramp, 0.5)).texture_bchw[..., 32, :].diff(dim=-1).abs()
    assert float(step.max()) < 0.05  # without the correction the mirror would jump by 0.15


def test_fill_shows_the_average_in_the_tone_of_the_surroundings_where_neither_side_is_seen():
    average = torch.rand(1, 3, 64, 64, generator=generator()) * 0.2 + 0.3
    average = 0.5 * (average + average.flip(-1))
    known = torch.zeros(1, 1, 64, 64)
    known[..., :40, :] = 1
    filled = fill((average + 0.1) * known, known, average)
    torch.testing.assert_close(filled.texture_bchw, average + 0.1, atol=1e-3, rtol=0)


def test_a_large_fill_has_the_detail_of_the_photograph_and_the_weights_of_the_small_one():
    texture = torch.rand(1, 3, 128, 128, generator=generator()) * 0.5 + 0.2
    texture = 0.5 * (texture + texture.flip(-1))
    known = half_known(128)
    halves = [interpolate(m, size=(64, 64), mode="area") for m in (texture * known, known)]
    small = fill(halves[0], halves[1], torch.full_like(halves[0], 0.45))
    large = fill_large(texture * known, known, small)
    for weight in (large.known_b1hw, large.mirrored_b1hw):
        inner = (weight == 1).expand_as(texture)
        assert int(inner.sum()) > 300
        torch.testing.assert_close(large.texture_bchw[inner], texture[inner], atol=0.06, rtol=0)
    assert bool((large.known_b1hw[known == 0] == 0).all())


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 33)])
def test_pull_push_of_one_texel_fills_everything_with_it(size):
    weight = torch.zeros(1, 1, *size)
    weight[..., size[0] // 2, size[1] // 2] = 1
    colours = torch.tensor([0.2, 0.4, 0.6])[None, :, None, None]
    torch.testing.assert_close(pull_push(colours * weight, weight), colours.expand(1, 3, *size))


def test_fill_refuses_shapes_that_do_not_match():
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\).*\(1, 1, 4, 4\)"):
        fill(torch.rand(1, 3, 8, 8), torch.ones(1, 1, 4, 4), torch.rand(1, 3, 8, 8))


def test_average_skin_takes_the_tone_of_a_texture(head, sample):
    average = AverageSkin(48)
    average.fit([read_skin(sample, head)], head)
    inside = (average.inside_11hw > 0).expand(1, 3, -1, -1)
    tint = torch.tensor([0.6, 0.5, 0.4])[:, None, None]
    known = torch.zeros(1, 1, 48, 48)
    known[..., 20:30, 20:30] = 1
    like = average.like(average.even_13hw * tint * known, known)
    torch.testing.assert_close(like[inside], (average.even_13hw * tint)[inside], rtol=1e-3, atol=0)


def test_average_skin_has_no_hair(head, sample):
    """Scalps that are dark in some captures are bare in the mean."""
    bare = dict(sample)
    hairy = dict(sample)
    dark = sample["diffuse"].clone()
    dark[..., :10, :] = 40
    hairy["diffuse"] = dark
    average = AverageSkin(48)
    average.fit([read_skin(bare, head), read_skin(hairy, head)], head)
    scalp, face = (average.even_13hw[..., rows, 18:30].mean() for rows in (slice(2, 6), slice(14, 18)))
    assert float(scalp) == pytest.approx(float(face), rel=0.05)


def test_lighting_lights_like_the_shading_and_undoes_it(head, sample):
    skin = read_skin(sample, head)
    skin = replace(skin, specular_b1hw=torch.full_like(skin.specular_b1hw, SPECULAR))
    skin = replace(skin, translucency_b1hw=torch.zeros_like(skin.translucency_b1hw))
    light = torch.zeros(2, 81, 3)
    light[:, 0], light[:, 2], light[:, 3] = 4.0, 1.0, torch.tensor([0.5, 0.0, -0.5])
    eye = torch.tensor([[0.0, 0.0, 900.0], [100.0, 50.0, 800.0]])
    found = lighting(light, skin.surface, eye, skin.ao_b1hw)
    seen, even = radiance(skin, light, eye), light_normalized(skin)
    inside = (skin.inside_11hw > 0).expand_as(seen)
    torch.testing.assert_close(found.lit(even)[inside], seen[inside], atol=2e-3, rtol=0)
    torch.testing.assert_close(found.even(seen)[inside], even[inside], atol=4e-3, rtol=0)


def test_degrade_keeps_range_and_tone():
    texture = torch.rand(4, 3, 32, 32, generator=generator()) * 1.5
    found = degrade(texture, generator(1))
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert float((found.mean() - texture.clamp(0, 1).mean()).abs()) < 0.1


def test_hair_on_the_scalp_does_not_count_as_skin_and_a_beard_does(head, sample):
    """The upper quarter of the chart is as dark as hair, and so is a patch on the chin."""
    size = sample["ao"].shape[-1]
    dark = sample["diffuse"].clone()
    dark[:, :, : size // 5] = 20
    dark[:, :, 3 * size // 4 : 4 * size // 5, size // 3 : size // 2] = 20
    skin = read_skin(sample | {"diffuse": dark}, head)
    counts = skin_texels(skin, head)
    assert float(counts[:, :, : size // 5].mean()) < 0.1
    assert float(counts[:, :, 3 * size // 4 : 4 * size // 5, size // 3 : size // 2].mean()) > 0.9
    assert float(counts[:, :, size // 2 :].sum()) > 0.9 * float(skin.inside_11hw[..., size // 2 :, :].sum()) * len(
        counts
    )
