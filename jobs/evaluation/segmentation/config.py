"""Evaluate the stage ``segmentation`` on captures whose classes are known, and on portraits.

    python jobs/evaluate.py what=segmentation set=eval-v2                                     # the shipped one
    python jobs/evaluate.py what=segmentation set=eval-v2 run=segmentation-cpu
    python jobs/evaluate.py what=segmentation set=eval-v2 bundle=demo portraits=/data/portraits

Pictures take the path of inference: the face is found, turned upright and cropped, and the crop is segmented. A pixel's
class is its most probable one. docs/evaluation.md says what each figure means. Sheets with the outlines drawn in are
written to evaluations/ of the storage root.
"""

from dataclasses import dataclass

from mosar.errors import ConfigError

THRESHOLD = 0.0066
"""Least share of the pixels near the eyes of somebody who wears glasses.

It is ``glasses_threshold_best`` of the shipped weights on the first 72 captures of ``eval-v2``, glasses in 21 of them.
Choose it anew for other weights, and never on portraits.
"""


@dataclass(frozen=True)
class Config:
    """Attributes:

    set: name of a data set of a light stage below ``data/`` of the storage root, or its location.
    split: split of the data set.
    run: finished run of stage segmentation; default: the shipped weights.
    bundle: bundle whose segmentation is evaluated instead: a folder, a URI, or a name below ``bundles/``.
    portraits: folder of photographs (files, tars, Parquet).
    names: text file with the names of the portraits to take; default: docs/evaluation.md.
    glasses: text file that says who wears glasses: lines ``SHA256 yes`` or ``SHA256 no`` with digests of image files;
        default: the shipped one.
    threshold: least share of the pixels near the eyes, classed as glasses, of somebody who wears glasses.
    storage: storage root; default: MOSAR_STORAGE, else ~/.mosar.
    """

    set: str = "eval-v2"
    split: str = "test"
    run: str | None = None
    bundle: str | None = None
    portraits: str | None = None
    names: str | None = None
    glasses: str | None = None
    threshold: float = THRESHOLD
    storage: str | None = None

    def __post_init__(self) -> None:
        if self.run is not None and self.bundle is not None:
            raise ConfigError("run, bundle: got both, expected one of them, or neither for the shipped weights")
        for name in ("names", "glasses"):
            if getattr(self, name) is not None and self.portraits is None:
                raise ConfigError(f"{name}: expected with portraits=FOLDER only")
        if not 0 < self.threshold < 1:
            raise ConfigError(f"threshold: got {self.threshold}, expected a share between 0 and 1")
