"""Data sets of another version of the schema are refused with the command that makes them anew."""

import shlex
from collections.abc import Mapping
from typing import Any

from mosar.datasets import schema

_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "virtual": {"seed": 0, "renderer": "fast", "share": 0.5},
    "evaluation": {},
    "photographs": {"folder": None, "licence": None, "subjects": "file", "without": []},
    "studio": {"folder": None},
}
"""Settings by source, with their defaults in jobs/config/make_shards.yaml."""


def other_version(location: str, about: Mapping[str, Any]) -> str:
    """Message for a data set of another version; ``about``: what its manifest says."""
    said = about.get("schema_version")
    return f"{location} has schema version {said}, expected {schema.VERSION}; {make_again(location, about)}"


def make_again(location: str, about: Mapping[str, Any]) -> str:
    """How to make a data set again, in the folder ``<kind>-<preset>``, from the settings in its recipe."""
    recipe = about.get("recipe", {})
    source = recipe.get("source", "virtual")
    words = [f"source={source}", f"preset={location.rstrip('/').rsplit('/', 1)[-1].partition('-')[2]}"]
    for name, usual in _DEFAULTS.get(source, {}).items():
        value = recipe.get(name, usual)
        if value != usual:
            words.append(f"{name}=[{','.join(value)}]" if isinstance(value, list) else f"{name}={value}")
    return f"move it away and make it again: python jobs/make_shards.py {shlex.join(words)}"
