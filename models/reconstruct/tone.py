"""The tone of the skin: how much of what the camera saw is albedo, and how much is light.

One photograph shows only the product of both. Measured facial skin (ISSA, Lu et al. 2025: 7,553 spectra of 2,107
people) lies close to a curve of log RGB along which melanin changes; the prior along it is flat over all humans, so
that no tone is more likely than another. What is known of the light is its usual range, its colour, and cues: the
whites of the eyes, teeth, the rest of the picture. All quantities are natural logarithms of linear RGB (3).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosar.models.colour import LUMINANCE

_MEAN = (-0.989, -1.558, -1.931)
_MELANIN = (-0.511, -0.575, -0.639)  # darker per unit
_OTHERS = ((-0.700, -0.153, 0.698), (0.498, -0.804, 0.324))
_DEVIATIONS = (0.097, 0.054)  # of people, along the other two axes
_GLOSS = 0.035  # reflected at the surface, included in the measurements
_RANGE, _SHOULDER = (-0.75, 2.35), 0.2  # of melanin: 1 % and 99 % of people
_BALANCE = 0.10  # deviation of a camera's white balance, per channel
_STEPS = 241
_DEPENDENT = 1.44  # the cues err together: without it the intervals of 70 training captures held 73 %, with it 80 %


@dataclass(frozen=True)
class Cue:
    """An independent estimate of the logarithm of the light's brightness on the face, and its standard deviation.

    A brightness of 0 shows a white surface, albedo 1, as linear 1.
    """

    name: str
    brightness: float
    deviation: float


@dataclass(frozen=True)
class Tone:
    """The posterior of the mean albedo of a person's facial skin, linear.

    Attributes:
        albedo_3: geometric mean of the posterior, RGB.
        low, high: luminance of the albedo at the ends of the central interval that holds 80 % of the probability.
        cues: what was known of the light.
    """

    albedo_3: tuple[float, float, float]
    low: float
    high: float
    cues: tuple[Cue, ...]

    @property
    def luminance(self) -> float:
        return sum(a * b for a, b in zip(self.albedo_3, LUMINANCE, strict=True))


def estimate_tone(observed_3: Tensor, cues: Sequence[Cue], colourless: bool = False) -> Tone:
    """The posterior, given the colour of the skin in the photograph: linear RGB, without highlights and shadows.

    A grid over melanin; for each of its values the light is Gaussian. Of a ``colourless`` photograph only the luminance
    counts.
    """
    seen = observed_3.double().cpu().clamp_min(1e-4).log()
    melanin = torch.linspace(_RANGE[0] - 0.6, _RANGE[1] + 0.6, _STEPS, dtype=torch.float64)
    skin_m3 = _skin(melanin)
    y_m = skin_m3.exp() @ torch.tensor(LUMINANCE, dtype=torch.float64)
    precision = sum(c.deviation**-2 for c in cues)
    bright = sum(c.brightness * c.deviation**-2 for c in cues) / precision
    axes = torch.tensor(_OTHERS, dtype=torch.float64)
    people = axes.T @ torch.diag(torch.tensor(_DEVIATIONS, dtype=torch.float64) ** 2) @ axes
    light = torch.full((3, 3), 1.0 / precision, dtype=torch.float64) + _BALANCE**2 * torch.eye(3, dtype=torch.float64)
    off_m3 = seen - skin_m3 - bright
    inverse = torch.linalg.inv(people + light)
    if colourless:
        off_m3 = (seen.mean() - y_m.log() - bright)[:, None].expand(-1, 3)
        inverse = torch.eye(3, dtype=torch.float64) * precision / 3
    outside = (_RANGE[0] - melanin).clamp_min(0) + (melanin - _RANGE[1]).clamp_min(0)
    log_p = -0.5 * ((off_m3 @ inverse) * off_m3).sum(1) - 0.5 * (outside / _SHOULDER) ** 2
    p = torch.softmax(log_p, 0)
    at = (p[:, None] * skin_m3).sum(0)
    # Given the tone, the part of the remaining difference that belongs to the person rather than to the light.
    own = 0 * at if colourless else people @ inverse @ (seen - at - bright)
    albedo = (at + own).exp()
    total = torch.softmax(log_p / _DEPENDENT, 0).cumsum(0)
    # Melanin darkens: the luminance falls along the grid.
    low, high = (float(y_m[int(torch.searchsorted(total, q).clamp_max(_STEPS - 1))]) for q in (0.9, 0.1))
    return Tone((float(albedo[0]), float(albedo[1]), float(albedo[2])), low, high, tuple(cues))


def shared(tones: Sequence[Tone], colourless: Sequence[bool]) -> Tone:
    """The tone that several photographs of one person tell, whose lights differ: each counts by its precision.

    The cues of each photograph err independently. All intervals contain the same flat prior, which adds nothing.
    Photographs without colours (``colourless``) tell the luminance and, beside others, no hue.
    """
    spread = torch.tensor([math.log(tone.high / tone.low) for tone in tones], dtype=torch.float64).clamp_min(1e-3)
    precision = spread.square().reciprocal()
    coloured = precision * ~torch.tensor(list(colourless))
    coloured = coloured if bool(coloured.any()) else precision
    bright = torch.tensor([[tone.luminance, tone.low, tone.high] for tone in tones], dtype=torch.float64).log()
    hues = torch.tensor([tone.albedo_3 for tone in tones], dtype=torch.float64).log() - bright[:, :1]
    luminance, low, high = (precision @ bright / precision.sum()).tolist()
    albedo = (coloured @ hues / coloured.sum()).exp()
    albedo = albedo * (math.exp(luminance) / float(albedo @ torch.tensor(LUMINANCE, dtype=torch.float64)))
    # The interval of a weighted mean is narrower; its middle is the mean of the middles.
    middle, half = 0.5 * (low + high), 0.5 * float(precision.sum()) ** -0.5
    return Tone(
        (float(albedo[0]), float(albedo[1]), float(albedo[2])),
        math.exp(middle - half),
        math.exp(middle + half),
        tuple(cue for tone in tones for cue in tone.cues),
    )


def hue(luminance: float) -> Tensor:
    """Albedo (3) of average skin of about this luminance, divided by its luminance."""
    albedo_m3 = _skin(torch.linspace(_RANGE[0] - 0.6, _RANGE[1] + 0.6, _STEPS, dtype=torch.float64)).exp()
    y_m = albedo_m3 @ torch.tensor(LUMINANCE, dtype=torch.float64)
    nearest = int((y_m - luminance).abs().argmin())
    return albedo_m3[nearest] / y_m[nearest]


def _skin(melanin_m: Tensor) -> Tensor:
    """Logarithm of the diffuse albedo (m, 3) of average skin with this much melanin."""
    whole = torch.tensor(_MEAN, dtype=torch.float64) + melanin_m[:, None] * torch.tensor(_MELANIN, dtype=torch.float64)
    # The darkest measured skin is hardly brighter than its gloss.
    return (whole.exp() - _GLOSS * (whole.exp() / 0.15).clamp_max(1.0)).clamp_min(0.008).log()
