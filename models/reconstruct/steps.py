"""The stages that inference runs, in order.

A stage takes part if its name is in ``STEPS`` and its package defines ``infer(module, estimate) -> Estimate``
(``models/stages/<name>/inference.py``). Where several photographs of one person share an answer, it defines
``infer_person(module, estimates) -> list[Estimate]`` instead.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mosar.models.reconstruct.estimate import Estimate

STEPS = ("geometry", "completion", "delight", "intrinsics", "normals")

SHIPPED = ("segmentation",)
"""Stages that the program ships trained. They run first; a bundle may bring its own."""

Infer = Callable[[Any, Sequence[Estimate]], list[Estimate]]


def infer_of(name: str) -> Infer:
    """The function by which inference uses the trained module of the stage ``name`` on photographs of one person."""
    inference = importlib.import_module(f"mosar.models.stages.{name}.inference")
    if hasattr(inference, "infer_person"):
        shared: Infer = inference.infer_person
        return shared
    return lambda module, estimates: [inference.infer(module, estimate) for estimate in estimates]


def with_required(requires: Callable[[str], tuple[str, ...]], names: tuple[str, ...] = STEPS) -> tuple[str, ...]:
    """``names`` and all stages that they require, each after its own requirements."""
    found: dict[str, None] = {}
    for name in names:
        found |= dict.fromkeys((*with_required(requires, requires(name)), name))
    return tuple(found)


def stages() -> tuple[str, ...]:
    """All stages that a bundle holds."""
    return with_required(lambda name: importlib.import_module(f"mosar.models.stages.{name}").Stage.requires)


def missing(modules: Mapping[str, Any]) -> list[str]:
    """Stages without a module in ``modules``."""
    return [name for name in (*SHIPPED, *STEPS) if name not in modules]
