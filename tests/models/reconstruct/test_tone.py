import math

import pytest
import torch

from mosar.models.reconstruct.tone import Cue, estimate_tone

EXPOSURE = Cue("exposure", 0.0, 0.4)
PEOPLE = {  # facial skin of four groups (Lu et al. 2025), without the gloss of 0.035
    "dark": (0.151, 0.063, 0.029),
    "brown": (0.311, 0.162, 0.094),
    "tan": (0.380, 0.186, 0.136),
    "light": (0.438, 0.244, 0.168),
}


def luminance(colour):
    return sum(a * b for a, b in zip(colour, (0.2126, 0.7152, 0.0722), strict=True))


@pytest.mark.parametrize("name", PEOPLE)
def test_under_known_light_the_tone_is_that_of_the_skin(name):
    skin = PEOPLE[name]
    found = estimate_tone(torch.tensor(skin), [Cue("lamp", 0.0, 0.02)])
    assert found.luminance == pytest.approx(luminance(skin), rel=0.12)
    assert found.low < luminance(skin) * 1.08
    assert found.high > luminance(skin) / 1.08


def test_a_brighter_picture_of_the_same_person_is_mostly_brighter_light():
    """Cues see the brighter light, so one stop changes the albedo by far less than one stop."""
    skin = torch.tensor(PEOPLE["brown"])
    once, twice = (
        estimate_tone(gain * skin, [EXPOSURE, Cue("sclera", math.log(gain), 0.2), Cue("teeth", math.log(gain), 0.2)])
        for gain in (1.0, 2.0)
    )
    assert 1.0 < twice.luminance / once.luminance < 1.35


def test_without_cues_the_interval_is_wide_and_holds_the_truth():
    skin = PEOPLE["tan"]
    vague = estimate_tone(torch.tensor(skin), [Cue("exposure", 0.0, 0.6)])
    sure = estimate_tone(torch.tensor(skin), [Cue("exposure", 0.0, 0.1)])
    assert vague.low < luminance(skin) < vague.high
    assert vague.high / vague.low > 1.3 * sure.high / sure.low


def test_no_light_makes_skin_brighter_than_people_are():
    found = estimate_tone(torch.tensor([3.0, 2.0, 1.5]), [EXPOSURE])
    assert found.luminance < 0.45
    assert estimate_tone(torch.tensor([0.004, 0.002, 0.001]), [EXPOSURE]).luminance > 0.02


@pytest.mark.parametrize("name", PEOPLE)
def test_without_colours_only_the_luminance_counts(name):
    """Missing colours do not mean little melanin."""
    skin = torch.tensor(PEOPLE[name])
    grey = torch.full((3,), luminance(PEOPLE[name]))
    coloured, colourless = estimate_tone(skin, [EXPOSURE]), estimate_tone(grey, [EXPOSURE], colourless=True)
    assert colourless.luminance == pytest.approx(coloured.luminance, rel=0.2)
    assert colourless.low < luminance(PEOPLE[name]) < colourless.high


def test_a_colour_cast_belongs_to_the_light_more_than_to_the_skin():
    skin = torch.tensor(PEOPLE["light"])
    cast = torch.tensor([1.0, 1.0, 1.5])
    plain, blue = (estimate_tone(c, [EXPOSURE]).albedo_3 for c in (skin, skin * cast))
    assert blue[2] / plain[2] * plain[0] / blue[0] < 1.35


def test_coverage_of_the_interval():
    """With light drawn as the cue says, the 80 % interval holds the truth in about 80 % of the cases."""
    generator = torch.Generator().manual_seed(0)
    held = []
    mean, axis = torch.tensor([-0.989, -1.558, -1.931]), torch.tensor([-0.511, -0.575, -0.639])
    for _ in range(150):
        melanin = float(torch.rand(1, generator=generator)) * 3.1 - 0.75
        skin = (mean + melanin * axis).exp()
        skin = skin - 0.035 * (skin / 0.15).clamp_max(1)
        light = 0.3 * torch.randn(1, generator=generator) + 0.1 * torch.randn(3, generator=generator)
        found = estimate_tone(skin * light.exp(), [Cue("exposure", 0.0, 0.3)])
        held.append(found.low <= luminance(skin.tolist()) <= found.high)
    assert 0.7 <= sum(held) / len(held) <= 0.92
