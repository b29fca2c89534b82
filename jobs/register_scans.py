"""Carry scanned people over to a head: their mean, modes and expressions become a new head file.

    python jobs/register_scans.py source=/data/scans output=/data/scans.npz unit_mm=10
    python jobs/register_scans.py source=/data/ict_light.npz output=/data/scans.npz

A source is a folder of OBJ files of one topology (people/*.obj, expressions/*.obj), or the packed ICT-FaceKit model.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mosar.datasets.head_building import ict_facekit, registered_head, scan_folder
from mosar.datasets.head_building.registration import register
from mosar.datasets.head_building.scan_landmarks import scan_landmarks
from mosar.datasets.head_building.scans import Scans
from mosar.errors import ConfigError
from mosar.jobs import hydra_main
from mosar.models.head import head_bytes, load_head
from mosar.models.head.head import DEFAULT_PATH, MAKEHUMAN_PATH
from mosar.platform import storage

_STEPS = 3


@dataclass(frozen=True)
class RegisterScans:
    """Attributes:

    source: folder of OBJ files of one topology, or the packed ICT-FaceKit model (``.npz``).
    head: head file whose topology, chart and own people are used; by default MakeHuman's.
    output: head file to write; by default the committed one.
    unit_mm: length of one unit of the OBJ files, mm; the packed model has its own unit.
    views: number of renders from which landmarks are embedded on the new head; a third of it on the scans.
    seed: seed of the people and views in these renders.
    """

    source: str | None = None
    head: str | None = None
    output: str | None = None
    unit_mm: float = 1.0
    views: int = 360
    seed: int = 0

    def __post_init__(self) -> None:
        if self.source is None:
            raise ConfigError("source: missing; expected a folder of OBJ files or the packed ICT-FaceKit model (.npz)")
        if self.unit_mm <= 0 or self.views < 12:
            raise ConfigError(
                f"got unit_mm {self.unit_mm}, views {self.views}; expected unit_mm above 0, views at least 12"
            )


def main(config: RegisterScans) -> None:
    """Register the scans, write the head and print how closely it follows them."""
    output = Path(config.output or DEFAULT_PATH)
    base = load_head(config.head or MAKEHUMAN_PATH)
    scans = read_scans(Path(str(config.source)), config.unit_mm)
    _step(1, f"landmarks on {scans.name}: {len(scans.mean_v3)} vertices, {len(scans.modes_mv3)} modes")
    places_l3, known_l = scan_landmarks(scans, max(config.views // 3, 12), config.seed)
    _step(2, f"registration, {int(known_l.sum())} landmarks")
    registered = register(base, scans, places_l3, known_l)
    _step(3, "landmarks, regions and parts of the new head")
    fields = registered_head.build(base, registered, output.stem, config.views, config.seed)
    storage.write_bytes(str(output), head_bytes(fields))
    head = load_head(output)
    face = head.region("face") & registered.matched_v
    print(
        f"{output}: {len(registered.modes_mv3)} modes of {scans.name}, {len(registered.table)} of its "
        f"expressions, {int((head.landmark_triangle_l >= 0).sum())} landmarks; the face lay "
        f"{np.mean(registered.distance_v[face]):.3f} mm from the scans before its vertices were put onto them, "
        f"{int((head.region('face') & ~registered.matched_v).sum())} of its vertices have no counterpart; "
        f"sha256 {head.digest}"
    )
    for ours, theirs in registered.table.items():
        print(f"  {ours} = {' + '.join(theirs)}")
    rest = [name for name in head.expression_names if name not in registered.table]
    print(f"  of {base.name}: {', '.join(rest) or 'none'}")


def read_scans(path: Path, unit_mm: float) -> Scans:
    """The scans of a folder or of a packed model."""
    return scan_folder.read_folder(path, unit_mm) if path.is_dir() else ict_facekit.read_ict(path)


def _step(number: int, what: str) -> None:
    print(f"register_scans: {number} of {_STEPS}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, RegisterScans, "register_scans"))
