"""Run the trained stages in order: from a photograph with landmarks to mesh, maps, light and expression."""

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

_RIM = 0.02  # width of the dark rim of eye sockets and mouth on lids and lips, as a share of the chart's side


def settings(modules: Mapping[str, Any], refine_steps: int = 80) -> Settings:
    """Settings with the sizes of the trained modules; ``refine_steps``: steps of the landmark fit, 0 for none.

    Raises:
        ValueError: a step has no module.
    """
    if missing := steps.missing(modules):
        raise ValueError(f"modules lack {', '.join(missing)}; expected {', '.join(steps.STEPS)}")
    map_size = int(modules["intrinsics"].mean_diffuse_13hw.shape[-1])
    # Twice the chart's resolution: the face fills about half of the crop.
    return Settings(map_size, max(256, 2 * map_size), refine_steps)


def reconstruct(head: Head, modules: Mapping[str, Any], portrait: Portrait, settings: Settings) -> Estimate:
    """Run every step; only the crop of the photograph is used.

    Args:
        head: the head that the modules were trained on.
        modules: stage name -> module, in evaluation mode, for each of :data:`steps.STEPS`.
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
    """Maps continued from the exposed skin into eyes and mouth, where the networks learn nothing."""
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
    """Maps with the albedo rescaled, and the encoder's light corrected, so that both explain the seen texels."""
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
    """Store the duration of a block in seconds under ``name``."""
    start = time.perf_counter()
    yield
    timings[name] = time.perf_counter() - start
