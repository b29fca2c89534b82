"""Evaluate data of the virtual light stage: measured skin, reproducibility, fault detection, detectable faces.

``albedo_in_measured_range``: share of the texels of plain skin (no lips, moles, hair, lashes or mouth) whose
reflectance lies in the measured 1-99 % box and within a Mahalanobis distance of 3.5 in the log-RGB axes of the
measurements. ``skin_groups_covered``: number of published groups, out of eight, whose mean is within CIEDE2000 3 of the
skin of a subject. ``bytes_identical``: whether one worker and two workers make the same data set. ``faults_found``:
share of the kinds of fault that are reported with shard and key, and nowhere else. ``detector_found``: share of the
frontal renders (turned by less than 30 degrees) in which the detector finds a face. Two figures are for information:
``realism_auc`` of these renders (:mod:`mosar.jobs.evaluation.realism`), and ``captures_per_minute`` of one process.
"""

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosar.datasets import lights, schema
from mosar.datasets.landmarks import Detector
from mosar.datasets.virtual_stage import renderers, skin
from mosar.datasets.virtual_stage.capture import VirtualStage, capture
from mosar.datasets.virtual_stage.subjects import SURFACE, TONE_AXES, TONE_MEAN, TONE_STD, sample_subject
from mosar.datasets.virtual_stage.uv_regions import atlas
from mosar.errors import ConfigError
from mosar.jobs.evaluation.realism import realism_auc
from mosar.jobs.inspection import corruptions
from mosar.jobs.make_shards import Sizes
from mosar.jobs.sources import virtual
from mosar.jobs.verify_shards import verify
from mosar.models.head import Head, load_head
from mosar.platform import cluster
from mosar.platform.data import writer
from mosar.platform.storage import digest

GROUPS = {
    "African": (0.186, 0.098, 0.064), "South Asian": (0.346, 0.197, 0.129), "Iraqi": (0.378, 0.214, 0.153),
    "Thai": (0.383, 0.221, 0.145), "Chinese": (0.415, 0.242, 0.171), "Arabian": (0.432, 0.238, 0.164),
    "Caucasian": (0.446, 0.255, 0.195), "Japanese": (0.473, 0.279, 0.203),
}  # fmt: skip
"""Mean facial reflectance of groups, linear sRGB, specular included (ISSA, Lu et al. 2025)."""

MAHALANOBIS = 3.5
DELTA_E = 3.0
FRONT_DEGREES = 30.0
_SIZES = Sizes({"train": 3, "validation": 1}, {"train": 1}, captures=1, map_size=32, image_size=64, shard=2)


@dataclass(frozen=True)
class Config:
    """Attributes:

    people: number of people whose skin is measured.
    map_size: side of their maps, pixels.
    fronts: number of frontal images, of other people, for the detector.
    image_size: side of these images, pixels.
    traced: number of captures that time the path tracer, after a first one.
    seed: seed of the first person; the default is far from the seeds of any data set.
    head: head file to use instead of the default.
    """

    people: int = 256
    map_size: int = 96
    fronts: int = 200
    image_size: int = 192
    traced: int = 4
    seed: int = 900_000_000
    head: str | None = None

    def __post_init__(self) -> None:
        if min(self.people, self.fronts, self.traced) < 1 or self.map_size < 16 or self.image_size < 64:
            raise ConfigError(
                f"got people {self.people}, fronts {self.fronts}, traced {self.traced}, map_size {self.map_size}, "
                f"image_size {self.image_size}; expected at least 1, 1, 1, 16, 64"
            )


def evaluate(config: Config) -> dict[str, Any]:
    """Return the metrics by name; see the module docstring."""
    head = load_head(config.head)
    with tempfile.TemporaryDirectory(prefix="mosar-data-") as folder:
        return {
            **skins(head, config.people, config.map_size, config.seed),
            **fronts(head, config.fronts, config.image_size, config.seed + config.people),
            "captures_per_minute_path": traced_per_minute(head, config.traced, config.image_size, config.seed),
            "bytes_identical": bytes_identical(Path(folder), config.head),
            **faults_found(Path(folder), config.head),
        }


def skins(head: Head, people: int, map_size: int, seed: int) -> dict[str, Any]:
    """Compare the skin of sampled people with measured skin."""
    a = atlas(head, map_size)
    box, near, both, total, means = 0, 0, 0, 0, []
    for number in range(seed, seed + people):
        painted = skin.paint(a, sample_subject(head, number))
        albedo = painted.diffuse_n3[painted.bare_n > 0.9].astype(np.float64)
        inside = ((albedo >= skin.RANGE[0] - SURFACE) & (albedo <= skin.RANGE[1] - SURFACE)).all(1)
        close = mahalanobis(albedo + SURFACE) <= MAHALANOBIS
        box, near, both, total = (
            box + inside.sum(),
            near + close.sum(),
            both + (inside & close).sum(),
            total + len(albedo),
        )
        means.append(albedo.mean(0) + SURFACE)
    distance = group_distances(np.array(means))
    return {
        "albedo_in_measured_range": float(both / total),
        "albedo_in_box": float(box / total),
        "albedo_within_mahalanobis": float(near / total),
        "skin_groups_covered": int(sum(d <= DELTA_E for d in distance.values())),
        "skin_group_delta_e": {name: round(float(d), 2) for name, d in distance.items()},
    }


def mahalanobis(reflectance_n3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mahalanobis distance (n) of linear reflectance, specular included, from the measured faces, in log-RGB axes."""
    coordinates = (np.log(np.maximum(reflectance_n3, 1e-6)) - TONE_MEAN) @ TONE_AXES.T
    return np.asarray(np.linalg.norm(coordinates / TONE_STD, axis=1))


def group_distances(reflectance_n3: NDArray[np.float64]) -> dict[str, float]:
    """CIEDE2000 from each group's mean to the nearest of these linear reflectances."""
    from skimage.color import deltaE_ciede2000

    ours, theirs = _lab(reflectance_n3), _lab(np.array(list(GROUPS.values())))
    nearest = deltaE_ciede2000(theirs[:, None], ours[None]).min(1)
    return dict(zip(GROUPS, nearest.astype(float), strict=True))


def fronts(head: Head, count: int, size: int, seed: int) -> dict[str, Any]:
    """Share of images in which the detector finds a face, one image per person; rendering speed; and realism."""
    stage = VirtualStage(head, 128, size, lights.TRAIN_LIGHTS + lights.HELD_OUT_LIGHTS)
    found = {True: [0, 0], False: [0, 0]}
    pictures = []
    spent, number = 0.0, seed
    with Detector() as detector:
        while found[True][1] < count:
            began = time.perf_counter()
            person = sample_subject(head, number)
            sample, _ = capture(stage, person, skin.paint(atlas(head, stage.map_size), person), 0)
            spent += (time.perf_counter() - began) * (number > seed)  # the first capture fills caches
            front = turned_degrees(sample["camera"]) < FRONT_DEGREES
            pictures += [sample["image"]] if front else []
            faces = found[front]
            faces[0] += bool(detector.detect(sample["image"]))
            faces[1] += 1
            number += 1
    aside = found[False]
    auc, reason = realism_auc(pictures)
    return {
        "detector_found": found[True][0] / found[True][1],
        "detector_found_aside": aside[0] / aside[1] if aside[1] else None,
        "captures_per_minute_fast": 60 * (number - seed - 1) / spent,
        "realism_auc": auc,
        **({"realism_auc_reason": reason} if reason else {}),
    }


def traced_per_minute(head: Head, count: int, size: int, seed: int) -> float | None:
    """Path traced captures per minute; None if the path tracer is not installed."""
    try:
        renderers.check("path")
    except ConfigError:
        return None
    stage = VirtualStage(head, 128, size, lights.TRAIN_LIGHTS, "path")
    began = 0.0
    for number in range(seed, seed + count + 1):
        person = sample_subject(head, number)
        capture(stage, person, skin.paint(atlas(head, stage.map_size), person), 0)
        began = began or time.perf_counter()  # starts after the first capture, which fills caches
    return 60 * count / (time.perf_counter() - began)


def turned_degrees(camera: Mapping[str, Any]) -> float:
    """Angle between the direction in which the face looks and the direction to the camera, degrees."""
    forward = np.asarray(camera["rotation"])[2]  # viewing direction of the camera in the head frame
    return float(np.degrees(np.arccos(np.clip(-forward[2], -1, 1))))


def bytes_identical(folder: Path, head_path: str | None) -> bool:
    """Whether a data set made by one worker and again by two is identical, byte for byte."""
    made = []
    with cluster.connect():
        for workers in (1, 2):
            location = folder / f"by-{workers}"
            made.append({name: _write(location / name, name, head_path, workers) for name in ("lightstage", "wild")})
    return made[0] == made[1]


def faults_found(folder: Path, head_path: str | None) -> dict[str, Any]:
    """Share of the kinds of fault that are reported with shard and key, and nowhere else; and the missed kinds."""
    clean = folder / "clean"
    _write(clean, "lightstage", head_path, 0)
    if verify(str(clean), 0)[0]:
        return {
            "faults_found": 0.0,
            "faults": len(corruptions.FAULTS),
            "faults_missed": ["faults are reported in an intact data set"],
        }
    missed = []
    for name in corruptions.FAULTS:
        copy = folder / "faulty"
        shutil.copytree(clean, copy)
        where = corruptions.inject(name, copy)
        if {(f.shard, f.key) for f in verify(str(copy), 0)[0]} != {(where.shard, where.key)}:
            missed.append(name)
        shutil.rmtree(copy)
    share = 1 - len(missed) / len(corruptions.FAULTS)
    return {"faults_found": share, "faults": len(corruptions.FAULTS), "faults_missed": missed}


def _write(location: Path, kind: Any, head_path: str | None, workers: int) -> dict[str, str]:
    """Make a small virtual data set; return the digest of each file."""

    def produce(task: virtual.Task) -> Any:
        return virtual.produce(head_path, str(location), task)

    tasks = virtual.tasks(kind, _SIZES.subjects, _SIZES, 0)
    writer.write_dataset(str(location), tasks, produce, recipe={}, schema_version=schema.VERSION, concurrency=workers)
    return {p.name: digest.of_file(str(p)) for p in sorted(location.iterdir()) if p.is_file()}


def _lab(linear_n3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert linear sRGB to CIELAB (D65)."""
    from skimage.color import xyz2lab

    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    return np.asarray(xyz2lab(linear_n3 @ to_xyz.T))
