"""Run the trained stages in order: from a photograph with landmarks to mesh, maps, light and expression."""

import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
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


Progress = Callable[[str, int, int], None]
"""Is told the name of the step that begins, how many are done, and how many there are."""


def settings(
    modules: Mapping[str, Any], fit_steps: int = 8, size: int | None = None, fit_seconds: float | None = None
) -> Settings:
    """Settings with the sizes of the trained modules.

    Args:
        fit_steps: steps of the shape fit, 0 for none.
        size: texels a side of the avatar's maps; None: as many as hold the photograph's detail.
        fit_seconds: seconds after which the shape fit ends earlier; None: never.

    Raises:
        ValueError: a step has no module.
    """
    if missing := steps.missing(modules):
        raise ValueError(f"modules lack {', '.join(missing)}; expected {', '.join((*steps.SHIPPED, *steps.STEPS))}")
    map_size = int(modules["intrinsics"].mean_diffuse_13hw.shape[-1])
    return Settings(map_size, CROP, fit_steps, size, fit_seconds)


def reconstruct(
    head: Head,
    modules: Mapping[str, Any],
    portraits: Sequence[Portrait],
    settings: Settings,
    progress: Progress | None = None,
) -> list[Estimate]:
    """Run every step on one or several photographs of one person.

    Args:
        head: the head that the modules were trained on.
        modules: stage name -> module, in evaluation mode, for each of :data:`steps.SHIPPED` and :data:`steps.STEPS`.
    """
    timings: dict[str, float] = {}
    together, alone = _steps(modules)
    every = len(together) + len(portraits) * len(alone)
    done = 0

    def run(chosen: Sequence[_Step], estimates: list[Estimate]) -> list[Estimate]:
        nonlocal done
        for name, step in chosen:
            if progress is not None:
                progress(name, done, every)
            with timed(timings, name):
                estimates = step(estimates)
            done += 1
        return estimates

    estimates = run(together, [Estimate(head, portrait, settings) for portrait in portraits])
    finished = [run(alone, [estimate])[0] for estimate in estimates]
    timings["total"] = sum(timings.values())
    return [replace(estimate, timings_s=timings) for estimate in finished]


def look(head: Head, modules: Mapping[str, Any], portrait: Portrait, settings: Settings) -> Estimate:
    """Run the steps before the texture stages: shape, camera, light, and the photograph on the chart.

    ``modules``: as in :func:`reconstruct`.
    """
    estimates = [Estimate(head, portrait, settings)]
    for _, step in _steps(modules)[0]:
        estimates = step(estimates)
    return estimates[0]


_Step = tuple[str, Callable[[list[Estimate]], list[Estimate]]]


def _steps(modules: Mapping[str, Any]) -> tuple[list[_Step], list[_Step]]:
    """The steps in which photographs of one person share answers, and those that follow for each by itself."""
    found = [(name, partial(steps.infer_of(name), modules[name])) for name in (*steps.SHIPPED, *steps.STEPS)]
    shared = next(i for i, (name, _) in enumerate(found) if name == "geometry") + 1
    light = ("light", partial(see, morphable=modules["geometry"].morphable))
    last = [("finish", _finished), ("expression", _with_expression)]
    return [*found[:shared], light], [*found[shared:], *last]


@torch.no_grad()
def _finished(estimates: list[Estimate]) -> list[Estimate]:
    done = [finish(estimate) for estimate in estimates]
    return [replace(each, eyes_hw3=eyes_map(each), mouth_hw3=mouth_map(each)) for each in done]


@torch.no_grad()
def _with_expression(estimates: list[Estimate]) -> list[Estimate]:
    fits = [(estimate, estimate.fit) for estimate in estimates]
    return [replace(e, expression=expression_weights(e.head, fit.mesh_1v3, fit.neutral_1v3)) for e, fit in fits]


@contextmanager
def timed(timings: MutableMapping[str, float], name: str) -> Iterator[None]:
    """Add the duration of a block in seconds under ``name``."""
    start = time.perf_counter()
    yield
    timings[name] = timings.get(name, 0.0) + time.perf_counter() - start
