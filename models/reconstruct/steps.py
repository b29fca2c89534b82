"""The stages that inference runs, in order.

A stage takes part if its name is in ``STEPS`` and its package defines ``infer(module, estimate) -> Estimate``
(``models/stages/<name>/inference.py``).
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from mosar.models.reconstruct.estimate import Estimate

STEPS = ("geometry", "completion", "delight", "intrinsics", "normals")

SHIPPED = ("segmentation",)
"""Stages that the program ships trained. They run first; a bundle may bring its own."""

Infer = Callable[[Any, Estimate], Estimate]


def infer_of(name: str) -> Infer:
    """The function by which inference uses the trained module of the stage ``name``."""
    infer: Infer = importlib.import_module(f"mosar.models.stages.{name}.inference").infer
    return infer


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
