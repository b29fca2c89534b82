"""Parse plain containers (from YAML, JSON or a command line) into frozen dataclasses; errors name the key.

A config class is a frozen dataclass whose ``__post_init__`` raises :class:`~mosar.errors.ConfigError` on impossible
values.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from mosar.errors import ConfigError

Config = TypeVar("Config")


def parse(config_class: type[Config], values: Mapping[str, Any], where: str = "config") -> Config:
    """Build ``config_class`` from ``values``, including nested dataclasses, tuples, mappings and unions with None.

    Raises:
        ConfigError: unknown or missing key, or a value of the wrong type; the message gives the dotted name.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: got {values!r}, expected a group of keys")
    hints = typing.get_type_hints(config_class)
    fields = {f.name: f for f in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; expected one of {', '.join(sorted(fields))}")
    missing = sorted(
        name
        for name, f in fields.items()
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )
    if missing:
        raise ConfigError(f"{where}: missing key {missing[0]!r}")
    return config_class(**{k: _convert(hints[k], v, f"{where}.{k}") for k, v in values.items()})


def to_mapping(config: Any) -> dict[str, Any]:
    """The plain JSON-ready containers of a config (tuples become lists)."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, list | tuple) else value

    return {k: plain(v) for k, v in dataclasses.asdict(config).items()}


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{where}: got {value!r}, expected one of {', '.join(map(str, args))}")
        return value
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else parse(hint, value, where)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: got {value!r}, expected a list")
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(kinds) != len(value):
            raise ConfigError(f"{where}: got {len(value)} values, expected {len(kinds)}")
        return tuple(_convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: got {value!r}, expected a group of keys")
        return {str(k): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: got {value!r} ({type(value).__name__}), expected {hint.__name__}")
    return value
