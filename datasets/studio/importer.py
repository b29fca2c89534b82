"""Turn a capture of a real light stage into samples, one per camera, and check it thoroughly."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets import detection, schema
from mosar.datasets.environment_files import read_environment
from mosar.datasets.studio import layout, maps
from mosar.datasets.studio.layout import Studio
from mosar.datasets.studio.meshes import Motion, check_frame, onto, read_mesh, to_head_frame
from mosar.datasets.studio.views import crop_view, inside, read_view
from mosar.errors import DataError
from mosar.models.colour import to_linear
from mosar.models.head import LANDMARKS, Head
from mosar.models.shading import sh

if TYPE_CHECKING:
    from mosar.datasets.landmarks import Detector

_ALBEDO = (0.02, 0.75)
_OFF_NOTE, _OFF_FAULT = 0.05, 0.20
"""Distance between detected and projected landmarks, in face heights, above which there is a note, or a fault."""


@dataclass
class Report:
    """Findings in a capture. ``faults``: reasons why it or one of its cameras was left out; ``notes``: suspicions."""

    subject: str
    capture: str
    samples: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Importer:
    """Reads captures as samples for ``head``, with maps and crops of the given sides in pixels."""

    folder: Path
    studio: Studio
    head: Head
    map_size: int
    image_size: int

    def read(self, subject: str, capture: str, detector: "Detector") -> tuple[dict[str, dict[str, bytes]], Report]:
        """Members of each camera's sample, by camera name, and the report. Cameras with a fault are left out.

        ``detector``: its points are part of the samples, and check whether cameras and photographs belong together.
        """
        report = Report(subject, capture)
        place = self.folder / subject / capture
        found: dict[str, dict[str, bytes]] = {}
        try:
            shared, motion, mesh = self._shared(place, report)
            cameras = layout.read_json(place / "cameras.json")
            if not cameras:
                raise DataError("cameras.json names no camera")
        except DataError as error:
            report.faults.append(str(error))
            return found, report
        for name, given in cameras.items():
            try:
                if not layout.NAME.fullmatch(name):
                    raise DataError("expected a name of 1 to 24 characters of A-Z a-z 0-9 _ -")
                view = self._view(place, given, motion, mesh, detector, report, name)
                members = {**shared, **view}
                schema.validate(members, "lightstage")
            except DataError as error:
                report.faults.append(f"camera {name}: {error}")
                continue
            found[name] = members
        report.samples = len(found)
        return found, report

    def _shared(self, place: Path, report: Report) -> tuple[dict[str, bytes], Motion, NDArray[np.float64]]:
        """Members that all cameras share, the motion to the head frame, and the mesh in the head frame."""
        neutral = read_mesh(place.parent / "neutral.obj", self.head, self.studio.unit_mm)
        mesh = read_mesh(place / "mesh.obj", self.head, self.studio.unit_mm)
        motion = Motion.none()
        if self.studio.frame == "world":
            neutral = to_head_frame(neutral, self.head)(neutral)
            motion = onto(mesh, neutral, self.head)
            mesh = motion(mesh)
        check_frame(neutral, self.head)
        if (apart := float(np.linalg.norm(mesh - neutral, axis=1).max())) > 120:
            raise DataError(f"mesh.obj has a vertex {apart:.0f} mm from its place in neutral.obj, expected at most 120")
        facts = self._facts(place)
        sample: dict[str, Any] = {"mesh": mesh, "neutral": neutral, "light": self._light(place, facts, motion)}
        for name in schema.MAPS:
            path = layout.find(place, name)
            if name == "normal":
                sample[name] = maps.normals(path, self.studio.normal_y == "+v", self.map_size)
            elif name == "diffuse":
                sample[name] = maps.colour(path, self.studio.colour[name], self.map_size)
            else:
                sample[name] = maps.grey(path, self.studio.colour[name], self.map_size)
        mean = to_linear(torch.from_numpy(sample["diffuse"] / 255)).mean((0, 1)).numpy()
        if not (_ALBEDO[0] < mean.min() and mean.max() < _ALBEDO[1] and mean[0] > mean[2]):
            said = self.studio.colour["diffuse"]
            report.notes.append(f"diffuse: mean {mean.round(3).tolist()} is unusual for skin; is it {said!r} and RGB?")
        if sample["ao"].mean() < 64:
            report.notes.append(f"ao: mean {sample['ao'].mean() / 255:.2f} is dark; 1 must mean open")
        sample["capture"] = facts
        return schema.encode(sample), motion, mesh

    def _facts(self, place: Path) -> dict[str, Any]:
        """The content of the samples' ``capture.json``."""
        given = layout.read_json(place / "capture.json")
        expression = given.get("expression")
        if not isinstance(expression, dict):
            raise DataError('capture.json: no mapping "expression"; give {} for a neutral expression')
        unknown = sorted(set(expression) - set(self.head.expression_names))
        if unknown:
            raise DataError(f"capture.json: expression {unknown[0]!r} is not one of the head's")
        subject = place.parent.name
        return {
            "renderer": "photograph",
            **given,
            "subject": subject,
            "expression": {name: float(expression.get(name, 0.0)) for name in self.head.expression_names},
            "head_digest": self.head.digest,
            "light": str(given.get("light", place.name)),
            "licence": self.studio.licence,
            "split": self.studio.split(subject),
        }

    def _light(self, place: Path, facts: Mapping[str, Any], motion: Motion) -> NDArray[np.float32]:
        """Coefficients (81 x 3) of the light in the head frame."""
        if (path := place / "light.npy").is_file():
            try:
                light = np.load(path, allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise DataError(f"light.npy cannot be read ({error})") from error
            if light.shape != (schema.SH, 3):
                raise DataError(f"light.npy: shape {light.shape}, expected ({schema.SH}, 3)")
        elif (path := place / "light.exr").is_file():
            light = sh.from_environment(torch.from_numpy(read_environment(path)).double()).numpy()
        elif facts["light"] == layout.UNIFORM:
            light = np.zeros((schema.SH, 3))
            light[0] = np.sqrt(4 * np.pi)  # radiance one from every direction
        else:
            raise DataError('no light.exr or light.npy; expected one, or "light": "uniform" in capture.json')
        if not motion.degrees:
            return np.asarray(light, np.float32)
        turned = sh.rotate(torch.from_numpy(light).double()[None], torch.from_numpy(motion.rotation_33)[None])
        return turned[0].numpy().astype(np.float32)

    def _view(
        self,
        place: Path,
        given: Any,
        motion: Motion,
        mesh: NDArray[np.float64],
        detector: "Detector",
        report: Report,
        name: str,
    ) -> dict[str, bytes]:
        """Members of one camera's view."""
        if not isinstance(given, dict):
            raise DataError(f"expected a mapping, got {type(given).__name__}")
        view = read_view(place, given, self.studio, motion)
        sample, crop, _ = crop_view(view, self.head, mesh, self.image_size, bool(given.get("cropped", False)))
        picture = crop.image_hw3 if crop.file is not None else schema.stored(crop.image_hw3)
        sample |= detection.observe(detector, picture)
        _compare(sample, report, name)
        side = self.image_size
        for stem, shape in (("mask", (side, side)), ("classes", (side, side)), ("landmarks", (LANDMARKS, 3))):
            if stem in given:
                sample[stem] = _own(inside(place, given, stem), stem, shape)
        members = schema.encode(sample)
        if crop.file is not None:
            members["image.jpg"] = crop.file.read_bytes()  # encoding it again would lose quality
        return members


def _own(path: Path, stem: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Read a mask, classes or landmarks of the crop that the studio provides in place of those from the mesh."""
    try:
        flat = stem != "landmarks"
        value = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if flat else np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{stem} {path.name} cannot be read ({error})") from error
    if value is None or value.shape != shape:
        there = "is not an image" if value is None else f"has shape {value.shape}"
        raise DataError(f"{stem} {path.name} {there}, expected {shape}, in pixels of the crop")
    return np.asarray(value)


def _compare(sample: Mapping[str, Any], report: Report, name: str) -> None:
    """Check that the detector finds the landmarks where the camera projects those of the mesh."""
    marks_l3: NDArray[np.float32] = sample["landmarks"]
    if not sample["pose"].any():
        report.notes.append(f"camera {name}: no face was detected, so the camera could not be checked")
        return
    seen = marks_l3[:, 2] == 1
    if seen.sum() < 20:
        return
    off = np.median(np.linalg.norm(sample["detected"][seen, :2] - marks_l3[seen, :2], axis=1))
    share = float(off / np.ptp(marks_l3[marks_l3[:, 2] > 0, 1]))
    if share > _OFF_FAULT:
        raise DataError(
            f"the mesh's landmarks are {share:.0%} of the face's height off the photograph's; do the camera, the mesh "
            "and the photograph belong together?"
        )
    if share > _OFF_NOTE:
        report.notes.append(f"camera {name}: landmarks are {share:.0%} of the face's height off the photograph's")


def to_json(report: Report) -> dict[str, Any]:
    """A report as a plain mapping."""
    return dataclasses.asdict(report)
