"""Measure a folder of portraits for the statistics from which captures are drawn (expression, pose, crop, light).

python jobs/measure_portraits.py folder=/data/portraits

Six in ten photographs count, all of the training split. The output holds means and covariances, no photograph.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosar.datasets import lights, portrait_statistics
from mosar.datasets.portrait_statistics import SMALLEST
from mosar.errors import ConfigError, DataError, PhotographError
from mosar.jobs import hydra_main
from mosar.jobs.progress_bar import with_bar
from mosar.jobs.sources.image_files import find_image_files, read_image_file
from mosar.jobs.sources.photographs import gives_statistics

if TYPE_CHECKING:
    from mosar.datasets.landmarks import Detector
    from mosar.models.head import Head

_FIRST = 910 * 10**9
"""Seed of the first person who is rendered to measure the detector: in no data set."""


@dataclass(frozen=True)
class MeasurePortraits:
    """Attributes:

    folder: photographs: image files, tars, Parquet tables.
    output: file to write; by default the one that captures are drawn from.
    captures: number of renders that show how the detector's scores follow the weights of an expression.
    head: head file to use instead of the default.
    """

    folder: str = ""
    output: str = str(portrait_statistics.ASSET)
    captures: int = 160
    head: str | None = None

    def __post_init__(self) -> None:
        if not self.folder:
            raise ConfigError("folder: missing; expected a folder of photographs")
        if self.captures < 40:
            raise ConfigError(f"captures: got {self.captures}, expected at least 40")


def main(config: MeasurePortraits) -> None:
    from mosar.datasets.landmarks import Detector
    from mosar.datasets.photographs import read_photograph
    from mosar.datasets.portrait_measurement import detected_boxes, detector_response, measure, summarise
    from mosar.models.head import load_head

    head = load_head(config.head)
    pictures = [p for p in find_image_files(config.folder) if gives_statistics(p.name)]
    found = []
    with Detector() as detector:
        for picture in with_bar(pictures, "photographs"):
            try:
                image = read_photograph(read_image_file(picture))
            except PhotographError:
                continue
            faces = detector.detect(image)
            if len(faces) == 1:
                found.append(measure(head, image, faces[0]))
        if len(found) < 2 * SMALLEST:
            raise DataError(f"{config.folder}: {len(found)} training photographs of one face, expected {2 * SMALLEST}")
        weights, scores, seen, marks = _rendered(head, detector, config.captures)
    statistics = summarise(found, detector_response(weights, scores), detected_boxes(seen, marks))
    path = Path(config.output)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(statistics.to_json()) + "\n")
    part.replace(path)
    print(f"{path}: {path.stat().st_size / 1000:.1f} kB from {len(found)} of {len(pictures)} photographs")


def _rendered(head: "Head", detector: "Detector", count: int) -> tuple[NDArray[np.float64], ...]:
    """Weights and scores (n, 52) in the order of the detector's names, and detected and true landmarks, of renders."""
    from mosar.datasets import detection, schema
    from mosar.datasets.virtual_stage import skin
    from mosar.datasets.virtual_stage.capture import VirtualStage, capture
    from mosar.datasets.virtual_stage.subjects import sample_subject
    from mosar.datasets.virtual_stage.uv_regions import atlas
    from mosar.models.head.expressions import NAMES

    stage = VirtualStage(head, 128, 192, lights.TRAIN_LIGHTS, portraits=0)
    weights, scores, seen, marks = [], [], [], []
    for seed in with_bar(range(_FIRST, _FIRST + count), "renders"):
        person = sample_subject(head, seed)
        sample, _ = capture(stage, person, skin.paint(atlas(head, stage.map_size), person), 0)
        told = detection.observe(detector, schema.stored(sample["image"]))
        if detection.found(told):
            named = sample["capture"]["expression"]
            weights.append([named.get(name, 0.0) for name in NAMES])
            scores.append(told["blendshapes"])
            seen.append(told["detected"])
            marks.append(sample["landmarks"])
    return np.array(weights), np.array(scores), np.array(seen), np.array(marks)


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, MeasurePortraits, "measure_portraits"))
