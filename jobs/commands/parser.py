"""The parser of the command line: mistakes are one sentence, and options that several commands have."""

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from mosar.errors import ConfigError

Commands = Any
"""What :meth:`argparse.ArgumentParser.add_subparsers` returns, whose type has no public name."""


class Parser(argparse.ArgumentParser):
    """Mistakes raise a ConfigError in place of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see `{self.prog} --help`")


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], help_: str, about: str, examples: str
) -> Parser:
    """Add a command; ``about`` and ``examples`` are shown as they are above and below its options."""
    parser: Parser = commands.add_parser(
        name,
        help=help_,
        description=about,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_storage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--storage", help="storage root (default: MOSAR_STORAGE, else ~/.mosar)")


def number(kind: Callable[[str], float], low: float, high: float = float("inf")) -> Callable[[str], Any]:
    """A converter of an option's text to a number from ``low`` to ``high``."""

    def convert(text: str) -> float:
        expected = f"{low:g} or more" if high == float("inf") else f"{low:g} to {high:g}"
        what = "a whole number, " if kind is int else ""
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"got {text!r}, expected {what}{expected}")
        return value

    return convert
