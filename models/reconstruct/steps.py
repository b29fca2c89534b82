"""The stages that inference runs, in their order.

A stage takes part by its name here and a function ``infer(module, estimate) -> Estimate`` in its package
(``models/stages/<name>/inference.py``).
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from mosar.models.reconstruct.estimate import Estimate

STEPS = ("geometry", "completion", "delight", "intrinsics", "normals")

Infer = Callable[[Any, Estimate], Estimate]


def infer_of(name: str) -> Infer:
    """How inference uses the trained module of the stage ``name``."""
    infer: Infer = importlib.import_module(f"mosar.models.stages.{name}.inference").infer
    return infer


def with_required(requires: Callable[[str], tuple[str, ...]], names: tuple[str, ...] = STEPS) -> tuple[str, ...]:
    """``names`` and all stages that they are built on, each after those that it requires."""
    found: dict[str, None] = {}
    for name in names:
        found |= dict.fromkeys((*with_required(requires, requires(name)), name))
    return tuple(found)


def stages() -> tuple[str, ...]:
    """All stages that a bundle holds."""
    return with_required(lambda name: importlib.import_module(f"mosar.models.stages.{name}").Stage.requires)


def missing(modules: Mapping[str, Any]) -> list[str]:
    """Steps that ``modules`` has no module for."""
    return [name for name in STEPS if name not in modules]
