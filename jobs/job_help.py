"""Text of ``--help``: every key of a job, with its default and its meaning from the dataclass's docstring."""

import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Groups = Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, type]]]
"""Key whose dataclass depends on other keys -> function from the known values to {title: dataclass}."""

_ENTRY = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<text>.*)")
_WIDTH, _KEYS = 118, 44


def meanings(config_class: type) -> dict[str, str]:
    """Field -> its meaning: the entries below ``Attributes:`` in the docstring of a dataclass."""
    text = inspect.cleandoc(config_class.__doc__ or "").partition("Attributes:")[2]
    found: dict[str, str] = {}
    names: list[str] = []
    for line in textwrap.dedent(text.strip("\n")).splitlines():
        entry = _ENTRY.fullmatch(line)
        if entry:
            names = entry["names"].split(", ")
            found |= dict.fromkeys(names, entry["text"])
        elif line.startswith(" ") and line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def keys(config_class: type, values: Mapping[str, Any], groups: Groups, prefix: str = "") -> str:
    """Lines with all keys of a dataclass and of those inside it; ``values`` are the defaults that are known."""
    lines: list[str] = []
    nested: list[str] = []
    hints, meaning = typing.get_type_hints(config_class), meanings(config_class)
    for field in dataclasses.fields(config_class):
        key, kind = f"{prefix}{field.name}", _inner(hints[field.name])
        value = values.get(field.name, _default(field))
        if key in groups:
            for title, inner in groups[key](values).items():
                nested += ["", f"{key}.*, {title}:", keys(inner, _mapping(value), {}, f"{key}.")]
        elif kind is not None and _in_mapping(hints[field.name]):
            by_name = [f.name for f in dataclasses.fields(kind)]
            several = {n: {m: _plain(v)[n] for m, v in _mapping(value).items() if n in _plain(v)} for n in by_name}
            nested.append(keys(kind, several, {}, f"{key}.NAME."))
        elif kind is not None:
            if _optional(hints[field.name]):
                lines.append(_line(f"{key}=null", "turns all of the following off"))
            nested.append(keys(kind, _plain(value), {}, f"{key}."))
        else:
            lines.append(_line(f"{key}={_shown(value)}", _options(hints[field.name]) + meaning.get(field.name, "")))
    return "\n".join(lines + nested)


def _line(key: str, meaning: str) -> str:
    first = f"  {key:<{_KEYS}}"
    wrapped = textwrap.wrap(meaning, _WIDTH - _KEYS - 3) or [""]
    if len(first) > _KEYS + 2:
        wrapped = ["", *wrapped]
    return "\n".join([f"{first} {wrapped[0]}".rstrip(), *(" " * (_KEYS + 3) + rest for rest in wrapped[1:])])


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default if field.default is not dataclasses.MISSING else "???"


def _plain(value: Any) -> dict[str, Any]:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else _mapping(value)  # type: ignore[arg-type]


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _shown(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_shown(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return {None: "null", True: "true", False: "false"}.get(value, str(value)) if _simple(value) else str(value)


def _simple(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _options(hint: Any) -> str:
    """The values that a key can have, if they are few."""
    for part in (hint, *typing.get_args(hint)):
        if typing.get_origin(part) is typing.Literal:
            return f"{' | '.join(map(str, typing.get_args(part)))}: "
    return ""


def _optional(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _in_mapping(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _parts(hint: Any) -> Iterator[Any]:
    if typing.get_origin(hint) in {typing.Union, types.UnionType} or _in_mapping(hint):
        yield from typing.get_args(hint)
    else:
        yield hint


def _inner(hint: Any) -> type | None:
    """The dataclass in a hint such as ``Inner``, ``Inner | None`` or ``Mapping[str, Inner]``; None without one."""
    return next((part for part in _parts(hint) if dataclasses.is_dataclass(part) and isinstance(part, type)), None)
