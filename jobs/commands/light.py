"""A light as it is given on the command line."""

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path

from mosar.errors import ConfigError
from mosar.jobs.commands.parser import number

Light = str | tuple[float, float]
FORMS = "FILE.hdr, FILE.exr, AZIMUTH,ELEVATION or a built-in name such as studio"
_ENDINGS = (".hdr", ".exr")
_ANGLES = re.compile(r"[-+]?[\d.]+,[-+]?[\d.]+")


def add_light(parser: argparse.ArgumentParser, required: bool, default: str = "") -> None:
    """Add ``--light`` to a parser."""
    meaning = (
        "an equirectangular .hdr or .exr file, a lamp by its azimuth (to the subject's left) and elevation in degrees, "
        f"or a built-in light (city, courtyard, forest, interior, night, studio, sunrise, sunset){default}"
    )
    parser.add_argument("--light", required=required, metavar="LIGHT", help=meaning)


def add_exposure(parser: argparse.ArgumentParser) -> None:
    """Add ``--exposure`` to a parser."""
    meaning = "stops by which the light is brighter: 1 doubles it, -1 halves it (default 0)"
    parser.add_argument("--exposure", type=number(float, -10, 10), default=0.0, metavar="STOPS", help=meaning)


def with_joined_angles(words: Sequence[str]) -> list[str]:
    """The words of a command, with ``--light -60,20`` as ``--light=-60,20``, for -60,20 looks like an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--light" and word.startswith("-") and _ANGLES.fullmatch(word):
            joined[-1] = f"--light={word}"
        else:
            joined.append(word)
    return joined


def parse(text: str) -> Light:
    """A pair of angles in degrees, or the name or path as it is.

    Raises:
        ConfigError: an angle is no number or out of range, the file does not exist, or no built-in light has this name.
    """
    if "," in text and not text.lower().endswith(_ENDINGS):
        return _angles(text)
    if text.lower().endswith(_ENDINGS) and not Path(text).is_file():
        raise ConfigError(f"--light: {text}: no such file; give {FORMS}")
    if not text.lower().endswith(_ENDINGS):
        from mosar.datasets import lights  # loads torch, so later than --help

        if text not in (*lights.TRAIN_LIGHTS, *lights.HELD_OUT_LIGHTS):
            raise ConfigError(f"--light: got {text!r}; expected {FORMS}")
    return text


def _angles(text: str) -> tuple[float, float]:
    try:
        azimuth, elevation = (float(part) for part in text.split(","))
    except ValueError:
        azimuth = elevation = math.nan
    if not (abs(azimuth) <= 360.0 and abs(elevation) <= 90.0):
        raise ConfigError(
            f"--light: got {text!r}, expected azimuth,elevation in degrees, the elevation from -90 to 90: 60,20"
        )
    return azimuth, elevation
