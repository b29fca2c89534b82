"""Run the trained stages in order: from a photograph with landmarks to mesh, maps, light and expression."""

import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from mosar.models.head import Head
from mosar.models.reconstruct import steps
from mosar.models.reconstruct.blendshapes import expression_weights
from mosar.models.reconstruct.estimate import Estimate, Portrait, Settings
from mosar.models.reconstruct.eyes import eyes_map, mouth_map
from mosar.models.reconstruct.finish import finish
from mosar.models.reconstruct.light import see

CROP = 512
"""Pixels a side of the crop: enough for classes, eyes and teeth; the skin comes from the photograph itself."""


def settings(modules: Mapping[str, Any], fit_steps: int = 8, size: int | None = None) -> Settings:
    """Settings with the sizes of the trained modules.

    Args:
        fit_steps: steps of the shape fit, 0 for none.
        size: texels a side of the avatar's maps; None: as many as hold the photograph's detail.

    Raises:
        ValueError: a step has no module.
    """
    if missing := steps.missing(modules):
        raise ValueError(f"modules lack {', '.join(missing)}; expected {', '.join((*steps.SHIPPED, *steps.STEPS))}")
    return Settings(int(modules["intrinsics"].mean_diffuse_13hw.shape[-1]), CROP, fit_steps, size)


def reconstruct(head: Head, modules: Mapping[str, Any], portrait: Portrait, settings: Settings) -> Estimate:
    """Run every step.

    Args:
        head: the head that the modules were trained on.
        modules: stage name -> module, in evaluation mode, for each of :data:`steps.SHIPPED` and :data:`steps.STEPS`.
    """
    timings: dict[str, float] = {}
    estimate = Estimate(head, portrait, settings)
    for name in (*steps.SHIPPED, *steps.STEPS):
        with timed(timings, name):
            estimate = steps.infer_of(name)(modules[name], estimate)
        if name == "geometry":
            with timed(timings, "light"):
                estimate = see(estimate, modules["geometry"].morphable)
    with torch.no_grad():
        with timed(timings, "finish"):
            estimate = finish(estimate)
            estimate = replace(estimate, eyes_hw3=eyes_map(estimate), mouth_hw3=mouth_map(estimate))
        with timed(timings, "expression"):
            expression = expression_weights(head, estimate.fit.mesh_1v3, estimate.fit.neutral_1v3)
    timings["total"] = sum(timings.values())
    return replace(estimate, expression=expression, timings_s=timings)


@contextmanager
def timed(timings: MutableMapping[str, float], name: str) -> Iterator[None]:
    """Store the duration of a block in seconds under ``name``."""
    start = time.perf_counter()
    yield
    timings[name] = time.perf_counter() - start
