"""Errors of maps, normals and albedo under the true geometry of a capture. Every map is measured at one size."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosar.avatar import Avatar
from mosar.avatar.lighting import light_sh
from mosar.datasets.lights import HELD_OUT_LIGHTS
from mosar.jobs.evaluation.avatar import shape, texels
from mosar.jobs.evaluation.avatar.truth import Capture
from mosar.models.camera import position
from mosar.models.colour import LUMINANCE, to_srgb
from mosar.models.head import Head
from mosar.models.reconstruct.estimate import Maps
from mosar.models.reconstruct.light import bare_skin, trimmed_mean
from mosar.models.texture_space.captured_skin import CapturedSkin, radiance, subsample
from mosar.models.texture_space.lighting import shading
from mosar.models.uv import chart, surface, texels_of, to_world

_FEW = 200
"""Below this number of texels nothing is measured."""
_STRIDE = 2  # of the texels that are shaded under other lights
SPREAD = 64
"""Texels a side at which captures of one person are compared, so that a small shift does not count."""


@dataclass(frozen=True, eq=False)
class References:
    """What the training's averages give on the chart: albedo (1, 3, h, w), linear; tangent normals, if known.

    ``scalars``: specular, occlusion and translucency (1, 1, h, w) by name.
    """

    albedo_13hw: Tensor
    normal_13hw: Tensor | None
    scalars: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrueSkin:
    """What every row of a capture is compared with, prepared once.

    Attributes:
        shown_hw, hidden_hw: facial texels that the photograph shows, and the others, bool.
        maps: at :data:`texels.SIZE`.
        relit: name of each held-out light that is not the photograph's -> display values (n, 3) of thinned texels.
        shading_n: log of the true shading at the shown texels, low frequencies.
    """

    shown_hw: Tensor
    hidden_hw: Tensor
    maps: Maps
    relit: Mapping[str, Tensor]
    shading_n: Tensor


@lru_cache(maxsize=1)
def true_skin(capture: Capture) -> TrueSkin:
    """The true skin of a capture; the last one is kept."""
    truth = capture.truth
    face = texels.facial(truth.head)
    shown, maps = face & capture.shown_hw, texels.maps_at_size(truth.maps)
    skin = skin_of(truth.head, truth.vertices_1v3, maps)
    lit = maps.ao * shading(truth.light_1lc, skin.world_normal_b3hw)
    lights = [name for name in HELD_OUT_LIGHTS if name != capture.light]
    relit = {name: _radiance(skin, name, capture)[_thin(shown)] for name in lights}
    low = texels.low_frequencies(texels.log_luminance(lit), shown)[0, 0][shown]
    return TrueSkin(shown, face & ~capture.shown_hw, maps, relit, low)


def appearance_metrics(found: Avatar, capture: Capture, references: References) -> dict[str, float]:
    """Measures of one avatar on the texels that the photograph shows, and ``hidden_diffuse_delta_e`` on the others.

    ``lightness`` and its like are no metrics: they are what ``tone_bias`` is made of.
    """
    truth = true_skin(capture)
    shown, hidden, true = truth.shown_hw, truth.hidden_hw, truth.maps
    ours = texels.maps_at_size(found.maps)
    measured: dict[str, float] = {}
    if int(hidden.sum()) >= _FEW:
        measured["hidden_diffuse_delta_e"] = float(np.median(texels.delta_e(*_at(hidden, ours.diffuse, true.diffuse))))
    if int(shown.sum()) < _FEW:
        return measured
    average = texels.at_size(references.albedo_13hw)
    lightness, true_lightness, average_lightness = (
        float(texels.lab(_at(shown, x)[0])[:, 0].mean()) for x in (ours.diffuse, true.diffuse, average)
    )
    colours = _at(shown, ours.diffuse, true.diffuse)
    measured |= {
        "diffuse_delta_e": float(np.median(texels.delta_e(*colours))),
        "gained_diffuse_delta_e": float(np.median(texels.delta_e(*_as_bright(*colours)))),
        "lightness": lightness,
        "true_lightness": true_lightness,
        "average_lightness": average_lightness,
        "normal_deg": texels.angle_degrees(*_at(shown, ours.normal, true.normal)),
    }
    if references.normal_13hw is not None:
        mean_normal = texels.at_size(references.normal_13hw)
        measured["mean_normal_deg"] = texels.angle_degrees(*_at(shown, mean_normal, true.normal))
    for name in ("specular", "ao", "translucency"):
        measured[f"{name}_psnr_db"] = texels.psnr_db(*_at(shown, getattr(ours, name), getattr(true, name)))
    for name, mean in references.scalars.items():
        measured[f"mean_{name}_psnr_db"] = texels.psnr_db(*_at(shown, texels.at_size(mean), getattr(true, name)))
    return measured | _relit(found, ours, capture) | _shading_left(ours, truth)


def tone_inside(found: Avatar, capture: Capture) -> float:
    """1 if the true tone lies within the avatar's 80 % interval, else 0; NaN if too little of the skin is shown.

    The true tone is the luminance of the mean albedo of the bare skin that the photograph shows, as the avatar has it.
    """
    truth = true_skin(capture)
    head = capture.truth.head
    bare = truth.shown_hw & texels_of(head, bare_skin(head), texels.SIZE)
    if int(bare.sum()) < _FEW:
        return float("nan")
    tone = trimmed_mean(_at(bare, truth.maps.diffuse)[0].clamp_min(1e-4))
    luminance = float(tone @ tone.new_tensor(LUMINANCE))
    return float(found.tone["low"] <= luminance <= found.tone["high"])


def spread_maps(found: Maps, capture: Capture) -> dict[str, NDArray[np.float32]]:
    """Log albedo and log photograph (3, s, s) on the chart, coarse, and where the photograph shows it (s, s)."""
    shown = (texels.facial(capture.truth.head) & capture.shown_hw)[None, None].float()
    weight = texels.at_size(shown, SPREAD)

    def coarse(linear_13hw: Tensor) -> NDArray[np.float32]:
        mean = texels.at_size(texels.at_size(linear_13hw) * shown, SPREAD) / weight.clamp_min(1e-3)
        return np.asarray(mean[0].clamp_min(0.004).log().numpy(), np.float32)

    return {
        "albedo": coarse(found.diffuse),
        "photograph": coarse(capture.seen_13hw),
        "shown": np.asarray((weight[0, 0] > 0.5).numpy(), np.float32),
    }


def _as_bright(ours_n3: Tensor, true_n3: Tensor) -> tuple[Tensor, Tensor]:
    """Our linear colours as bright as the true ones on average, and the true ones."""
    luminance = ours_n3.new_tensor(LUMINANCE)
    gain = (true_n3.mean(dim=0) @ luminance) / (ours_n3.mean(dim=0) @ luminance).clamp_min(1e-4)
    return (gain * ours_n3).clamp(0.0, 1.0), true_n3


def light_spread(captures: list[Mapping[str, NDArray[np.float32]]]) -> float | None:
    """Variation of one person's albedo over that of the unwrapped photographs, where all captures show the skin.

    Variation: the mean over texels and channels of the standard deviation over captures of the logarithm. None if
    fewer than two captures share enough texels.
    """
    if len(captures) < 2:
        return None
    shared = np.prod([c["shown"] for c in captures], axis=0) > 0.5
    if int(shared.sum()) < _FEW * SPREAD**2 // texels.SIZE**2 + 8:
        return None
    albedo, photograph = (np.stack([c[name][:, shared] for c in captures]).std(0).mean() for name in _SPREAD_OF)
    return float(albedo / max(float(photograph), 1e-6))


_SPREAD_OF = ("albedo", "photograph")


def _relit(found: Avatar, ours: Maps, capture: Capture) -> dict[str, float]:
    """PSNR of the shaded texels under each held-out light that is not the photograph's, as it is and with one gain.

    Our head is turned to where the true one is, so that the pose does not count twice.
    """
    truth = capture.truth
    moved = shape.aligned(truth.head, shape.array(found.vertices_1v3), shape.array(truth.vertices_1v3), scaled=False)
    skin = skin_of(truth.head, torch.from_numpy(moved).float()[None], ours)
    shown = _thin(true_skin(capture).shown_hw)
    plain, gained = [], []
    for name, wanted in true_skin(capture).relit.items():
        value = _radiance(skin, name, capture)[shown]
        gain = float((value * wanted).sum() / value.square().sum().clamp_min(1e-8))
        plain.append(texels.psnr_db(_display(value), _display(wanted)))
        gained.append(texels.psnr_db(_display(gain * value), _display(wanted)))
    return {"relit_psnr_db": float(np.mean(plain)), "relit_gain_psnr_db": float(np.mean(gained))}


def _radiance(skin: CapturedSkin, light: str, capture: Capture) -> Tensor:
    """Radiance (h, w, 3) of thinned texels towards the photograph's camera."""
    light_1lc = torch.from_numpy(light_sh(light))[None]
    return radiance(subsample(skin, _STRIDE), light_1lc, position(capture.truth.camera))[0].permute(1, 2, 0)


def _thin(mask_hw: Tensor) -> Tensor:
    return mask_hw[::_STRIDE, ::_STRIDE]


def _display(linear: Tensor) -> Tensor:
    return to_srgb(linear.clamp(0.0, 1.0))


def _shading_left(ours: Maps, truth: TrueSkin) -> dict[str, float]:
    """Correlation of log(estimated / true albedo) with the log of the true shading, both at low frequencies."""
    error = texels.log_luminance(ours.diffuse) - texels.log_luminance(truth.maps.diffuse)
    low = texels.low_frequencies(error, truth.shown_hw)[0, 0][truth.shown_hw]
    return {"shading_left": texels.correlation(low, truth.shading_n)}


def skin_of(head: Head, vertices_1v3: Tensor, maps: Maps) -> CapturedSkin:
    """Maps of :data:`texels.SIZE` on a mesh, for shading without a rasteriser."""
    texel = chart(head, maps.diffuse.shape[-1])
    points = surface(texel, head, vertices_1v3)
    return CapturedSkin(
        diffuse_b3hw=maps.diffuse,
        specular_b1hw=maps.specular,
        ao_b1hw=maps.ao,
        translucency_b1hw=maps.translucency,
        tangent_normal_b3hw=maps.normal,
        inside_11hw=(texel.triangle_hw >= 0).to(maps.diffuse)[None, None],
        world_normal_b3hw=to_world(points, maps.normal),
        surface=points,
    )


def _at(chosen_hw: Tensor, *maps_1chw: Tensor) -> tuple[Tensor, ...]:
    """Values (n, c) of maps at the chosen texels."""
    return tuple(m[0, :, chosen_hw].T for m in maps_1chw)
