"""Stages by their recipes, and the generators that their losses draw from."""

import importlib
from pathlib import Path

import torch
import yaml

from mosar.config import parse

RECIPES = Path(__file__).parents[2] / "jobs" / "config" / "recipe"


def recipe(name, preset):
    """The package of a stage, and its configuration in a preset."""
    module = importlib.import_module(f"mosar.models.stages.{name}")
    return module, parse(module.Config, yaml.safe_load((RECIPES / name / f"{preset}.yaml").read_text())["model"])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)
