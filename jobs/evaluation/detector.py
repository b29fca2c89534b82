"""Learn how the landmark detector errs from captures: the file that geometry trains with, and a picture of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets import schema
from mosar.datasets.decode import DecodeSpec, decode
from mosar.errors import ConfigError
from mosar.jobs.evaluation.avatar.truth import locate_set, places
from mosar.jobs.progress_bar import with_bar
from mosar.models.camera import Camera
from mosar.models.head import Head, landmarks, load_head
from mosar.models.morphable import detector_error
from mosar.models.morphable.detected_fit import embedded
from mosar.models.morphable.detector_error import DetectorError, missed, yaw_pitch
from mosar.platform import storage
from mosar.platform.data import shards
from mosar.platform.data.manifest import open_manifest
from mosar.platform.monitoring import plots

_FIELDS = ("detected", "found", "mesh", "intrinsics", "rotation", "translation")
_LEAST = 30  # captures
_YAWS = (-30.0, 0.0, 30.0)
_SHOWN = 3  # components


@dataclass(frozen=True)
class Config:
    """Attributes:

    set: data set of a light stage, by name below ``data/`` of the storage root, absolute folder or URI.
    split: its split.
    held_out: share of the captures on which the model is checked.
    components: correlated components, 20 to 40.
    out: file to write; default: ``detector_error.safetensors`` below ``evaluations/`` of the storage root.
    head: head file to use instead of the default.
    storage: storage root; default: MOSAR_STORAGE, else ~/.mosar.
    """

    set: str = "virtual-people"
    split: str = "train"
    held_out: float = 0.2
    components: int = 30
    out: str | None = None
    head: str | None = None
    storage: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out: got {self.held_out}, expected a share between 0 and 1")
        if self.components < 1:
            raise ConfigError(f"components: got {self.components}, expected at least 1")


def evaluate(config: Config) -> dict[str, Any]:
    """Return how far detected points are off, and how much of it the model explains in captures that it did not see."""
    head, root = load_head(config.head), storage.root(config.storage)
    location = locate_set(config.set, root)
    error_nl2, yaw_n, pitch_n = (torch.stack(x) for x in zip(*_errors(location, config.split, head), strict=True))
    good = error_nl2.norm(dim=-1).median(dim=1).values < detector_error.FAR_MM
    error_nl2, yaw_n, pitch_n = error_nl2[good], yaw_n[good], pitch_n[good]
    if len(error_nl2) < _LEAST:
        raise ConfigError(f"set: {location} has {len(error_nl2)} captures with a detected face, expected {_LEAST}")
    kept = round((1 - config.held_out) * len(error_nl2))
    tried, model = (DetectorError(error_nl2.shape[1], config.components) for _ in range(2))
    tried.fit(error_nl2[:kept], yaw_n[:kept], pitch_n[:kept])
    rest = error_nl2[kept:] - tried.mean(yaw_n[kept:], pitch_n[kept:])
    model.fit(error_nl2, yaw_n, pitch_n)
    folder = storage.join(root, "evaluations", "detector")
    out = config.out or storage.join(folder, "detector_error.safetensors")
    storage.write_bytes(out if storage.is_uri(out) else str(Path(out).absolute()), model.to_bytes(head))
    picture = storage.join(folder, "detector_error.png")
    storage.write_bytes(picture, _picture(head, model))
    return {
        "captures": len(error_nl2),
        "left_out": int((~good).sum()),
        "rms_mm": _rms(error_nl2[kept:]),
        "rms_after_mean_mm": _rms(rest),
        "energy_per_coordinate": float(tried.energy(rest).mean() / rest[0].numel()),
        "own_mm": float(tried.own_d.mean().sqrt()),
        "shared_mm": float(tried.shared_kd.square().sum(dim=0).mean().sqrt()),
        "file": out,
        "picture": picture,
    }


def _errors(location: str, split: str, head: Head) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Errors (l, 2) of the embedded landmarks in each capture with a detected face, mm, and yaw and pitch, radians."""
    found, spec = open_manifest(location), DecodeSpec(_FIELDS, 64, 256)
    chosen = embedded(head)
    for shard, index in with_bar(places(found, split), "captures"):
        (extent,) = found.extents(shard, [index])
        (members,) = shards.read_samples(found.shard_location(shard), [extent])
        if schema.kind_of(members) != "lightstage":
            raise ConfigError(
                f"set: sample {extent.key} of {location} has no truth; expected captures of a light stage"
            )
        sample = {name: torch.from_numpy(value)[None] for name, value in decode(members, spec, 0).items()}
        if float(sample["found"]) < 0.5:
            continue
        camera = Camera(sample["intrinsics"], sample["rotation"], sample["translation"])
        error = missed(sample["detected"][..., :2], landmarks(head, sample["mesh"]), camera)[0, chosen]
        yaw, pitch = yaw_pitch(sample["rotation"])
        yield error, yaw[0], pitch[0]


def _rms(error_nl2: torch.Tensor) -> float:
    """Root mean square of a coordinate."""
    return float(error_nl2.square().mean().sqrt())


def _picture(head: Head, model: DetectorError) -> bytes:
    """The mean field at three yaws, and the first components, as arrows on the average head; five times as long."""
    figure = plots.new_figure(15.0, 10.0)
    axes = figure.subplots(2, _SHOWN)
    points = landmarks(head, torch.tensor(head.template_v3)[None])[0, embedded(head)].numpy()
    yaws = torch.tensor(_YAWS).deg2rad()
    fields = [*model.mean(yaws, torch.zeros_like(yaws)), *model.shared_kd[:_SHOWN].unflatten(1, (-1, 2))]
    titles = [f"mean at yaw {yaw:.0f}" for yaw in _YAWS] + [f"component {i + 1}" for i in range(_SHOWN)]
    turns = [*yaws.tolist(), *[0.0] * _SHOWN]
    for axis, field, title, yaw in zip(axes.flat, fields, titles, turns, strict=True):
        x: NDArray[np.floating] = points[:, 0] * np.cos(yaw) + points[:, 2] * np.sin(yaw)
        error = field.numpy()
        axis.quiver(x, -points[:, 1], *(5 * error.T), angles="xy", scale_units="xy", scale=1, width=0.003)
        axis.invert_yaxis()
        axis.set_aspect("equal")
        axis.set_title(f"{title}: rms {np.sqrt((error**2).sum(1).mean()):.2f} mm")
        axis.set_axis_off()
    return plots.figure_png(figure)
