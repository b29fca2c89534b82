"""From one photograph with its landmarks to mesh, maps, light and expression: the trained stages, one after another."""

import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from mosar.models.camera import views
from mosar.models.head import Head
from mosar.models.reconstruct import steps
from mosar.models.reconstruct.blendshapes import expression_weights
from mosar.models.reconstruct.estimate import Estimate, Maps, Portrait, Settings
from mosar.models.reconstruct.light_estimation import brightness, solve_light
from mosar.models.shading import Material
from mosar.models.texture_space.fill import pull_push
from mosar.models.uv import chart, to_world

_RIM = 0.02  # of the chart's side: how far the dark of eye sockets and mouth reaches onto the lids and lips


def settings(modules: Mapping[str, Any], refine_steps: int = 80) -> Settings:
    """Sizes that follow from the trained modules; ``refine_steps``: of the fit to the landmarks, 0 for none.

    Raises:
        ValueError: a step has no module.
    """
    if missing := steps.missing(modules):
        raise ValueError(f"modules lack {', '.join(missing)}; expected {', '.join(steps.STEPS)}")
    map_size = int(modules["intrinsics"].mean_diffuse_13hw.shape[-1])
    # Twice the chart's resolution: the face fills about half of the crop.
    return Settings(map_size, max(256, 2 * map_size), refine_steps)


def reconstruct(head: Head, modules: Mapping[str, Any], portrait: Portrait, settings: Settings) -> Estimate:
    """Run every step; the photograph is not looked at outside the crop.

    Args:
        head: the head that the modules were trained on.
        modules: stage name -> module, in evaluation mode; one for each of :data:`steps.STEPS`.
    """
    timings: dict[str, float] = {}
    estimate = Estimate(head, portrait, settings)
    for name in steps.STEPS:
        with timed(timings, name):
            estimate = steps.infer_of(name)(modules[name], estimate)
    with torch.no_grad():
        estimate = replace(estimate, maps=_continued(estimate))
        with timed(timings, "light"):
            maps, light = _light(estimate)
        with timed(timings, "expression"):
            expression = expression_weights(head, estimate.fit.mesh_1v3, estimate.fit.neutral_1v3)
    timings["total"] = sum(timings.values())
    return replace(estimate, maps=maps, light_1lc=light, expression=expression, timings_s=timings)


def _continued(estimate: Estimate) -> Maps:
    """Maps continued beyond the skin that light reaches: nothing is learnt of what lies inside eyes and mouth."""
    head, size = estimate.head, estimate.settings.map_size
    triangle_hw = chart(head, size).triangle_hw.to(estimate.seen_13hw.device)
    hidden_f = torch.from_numpy(head.region("interior")[head.triangles_f3].any(axis=1))
    hidden_hw = (triangle_hw < 0) | hidden_f.to(triangle_hw.device)[triangle_hw.clamp_min(0)]
    reach = 2 * max(1, round(_RIM * size)) + 1
    hidden = max_pool2d(hidden_hw.to(estimate.seen_13hw)[None, None], reach, stride=1, padding=reach // 2)
    inside = 1.0 - hidden
    names = ("diffuse", "specular", "ao", "translucency", "normal")
    return replace(estimate.maps, **{name: pull_push(getattr(estimate.maps, name) * inside, inside) for name in names})


def _light(estimate: Estimate) -> tuple[Maps, Tensor]:
    """The encoder's light, brought to the one that best explains the seen texels, and the albedo to its scale."""
    maps, fit = estimate.maps, estimate.fit
    at, light = estimate.known_11hw[0, 0] > 0.5, fit.parameters.light_b81c
    if int(at.sum()) < 100:
        return maps, light
    normals = to_world(estimate.surface, maps.normal)[:, :, at].mT
    towards = views(fit.camera, estimate.surface.position_b3hw[:, :, at].mT)
    colours = estimate.seen_13hw[:, :, at].mT

    def material() -> Material:
        return Material(*(m[:, :, at].mT for m in (maps.diffuse, maps.specular, maps.ao, maps.translucency)))

    scale = brightness(material(), normals, towards, colours, light)
    maps = replace(maps, diffuse=(scale * maps.diffuse).clamp(0.0, 1.0))
    return maps, solve_light(material(), normals, towards, colours, light)


@contextmanager
def timed(timings: MutableMapping[str, float], name: str) -> Iterator[None]:
    """Put the seconds that a block took under ``name``."""
    start = time.perf_counter()
    yield
    timings[name] = time.perf_counter() - start
