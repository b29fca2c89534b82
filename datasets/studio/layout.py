"""Layout of the folder that a studio provides.

    studio.json                                settings for the whole folder: :class:`Studio`
    SUBJECT/neutral.obj                        registered to the head, no expression
    SUBJECT/CAPTURE/mesh.obj                   registered to the head, expression included
    SUBJECT/CAPTURE/{diffuse,specular,ao,translucency,normal}.{png,tif,tiff,exr}
    SUBJECT/CAPTURE/capture.json               {"expression": {"jawOpen": 0.4}, "light": NAME, ...}
    SUBJECT/CAPTURE/cameras.json               {NAME: {"image": "views/NAME.jpg", "intrinsics": ..., ...}}
    SUBJECT/CAPTURE/light.exr or light.npy     environment map, or its 81 x 3 coefficients; none if "light": "uniform"

docs/data.md describes the content of each file.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mosar import config
from mosar.datasets.schema import MAPS
from mosar.errors import ConfigError, DataError

VERSION = 1
SPLITS = ("train", "validation", "test")
ENDINGS = (".png", ".tif", ".tiff", ".exr")
UNIFORM = "uniform"
NAME = re.compile(r"[A-Za-z0-9_-]{1,24}")

ColourSpace = Literal["srgb", "linear"]


@dataclass(frozen=True)
class Studio:
    """``studio.json``.

    Attributes:
        version: version of the layout.
        licence: licence of the captures; every sample states it.
        colour: ``srgb`` or ``linear`` for ``image`` and each map but ``normal``: encoding of the integers in 8- and
            16-bit files. Floats (EXR, float TIFF) are linear.
        normal_y: ``+v`` if green points up the chart (OpenGL, glTF), ``-v`` if down (DirectX).
        unit_mm: millimetres of one unit of the meshes; cameras are in millimetres.
        frame: ``head`` if meshes and cameras are in the head frame; ``world`` to move them there rigidly.
        pixel_centre: coordinate of the first pixel's centre in the cameras: 0.5, or 0 as in OpenCV's calibration.
        splits: subject to train, validation or test. A hash of the name decides for other subjects: 8, 1, 1 in ten.
    """

    version: int
    licence: str
    colour: Mapping[str, ColourSpace]
    normal_y: Literal["+v", "-v"]
    unit_mm: float = 1.0
    frame: Literal["head", "world"] = "head"
    pixel_centre: float = 0.5
    splits: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wanted = {"image", *(m for m in MAPS if m != "normal")}
        if self.version != VERSION:
            raise ConfigError(f"studio.json: version {self.version}, expected {VERSION}")
        if not self.licence:
            raise ConfigError("studio.json: licence is empty; state the licence of the captures")
        if set(self.colour) != wanted:
            raise ConfigError(f"studio.json: colour is stated for {sorted(self.colour)}, expected {sorted(wanted)}")
        if self.unit_mm <= 0:
            raise ConfigError(f"studio.json: unit_mm {self.unit_mm}, expected a positive number")
        wrong = {s: split for s, split in self.splits.items() if split not in SPLITS}
        if wrong:
            raise ConfigError(f"studio.json: splits {wrong}, expected one of {', '.join(SPLITS)} for each subject")

    def split(self, subject: str) -> str:
        """The split of a subject."""
        digit = int(hashlib.sha256(subject.encode()).hexdigest(), 16) % 10
        return self.splits.get(subject) or {9: "validation", 8: "test"}.get(digit, "train")


def read_studio(folder: Path) -> Studio:
    """Read ``studio.json``.

    Raises:
        ConfigError: the file is missing or has an invalid value.
    """
    path = folder / "studio.json"
    if not path.is_file():
        raise ConfigError(f"{folder}: studio.json is missing; docs/data.md shows an example")
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error})") from error
    return config.parse(Studio, values, str(path))


def captures(folder: Path) -> list[tuple[str, str]]:
    """Names of (subject, capture), sorted: folders and the folders in them.

    Raises:
        ConfigError: there is no capture, or a name is not usable in a sample's key.
    """
    found = [
        (subject.name, capture.name)
        for subject in sorted(p for p in folder.iterdir() if p.is_dir())
        for capture in sorted(p for p in subject.iterdir() if p.is_dir())
    ]
    if not found:
        raise ConfigError(f"{folder}: no captures; expected folders SUBJECT/CAPTURE, as docs/data.md shows")
    for name in {name for pair in found for name in pair}:
        if not NAME.fullmatch(name):
            raise ConfigError(f"{folder}: folder {name!r}: expected a name of 1 to 24 characters of A-Z a-z 0-9 _ -")
    return found


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON mapping; raises DataError if the file is missing or not a mapping."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path.name} is missing") from error
    except ValueError as error:
        raise DataError(f"{path.name} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise DataError(f"{path.name}: expected a mapping")
    return value


def find(folder: Path, stem: str, endings: tuple[str, ...] = ENDINGS) -> Path:
    """Path of the only file that is named ``stem`` with one of the endings.

    Raises:
        DataError: there is no such file, or several.
    """
    found = [path for ending in endings if (path := folder / f"{stem}{ending}").is_file()]
    if len(found) != 1:
        there = ", ".join(p.name for p in found) or "none"
        raise DataError(f"{stem}: expected one file ending in {', '.join(endings)}, found {there}")
    return found[0]
