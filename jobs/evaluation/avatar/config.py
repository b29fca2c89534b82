"""Evaluate whole avatars of one or more bundles, beside rows that must lose.

    python jobs/evaluate.py what=avatar bundle=demo set=eval-v2                      # a data set with truth
    python jobs/evaluate.py what=avatar bundle=demo set=portraits folder=FOLDER      # photographs without truth
    python jobs/evaluate.py what=avatar compare=old,new set=eval-v2 quick=true       # two bundles side by side

docs/evaluation.md says what each figure means and where it can fool. The report is written to evaluations/ of the
storage root.
"""

from dataclasses import dataclass

from mosar.errors import ConfigError

PORTRAITS = "portraits"


@dataclass(frozen=True)
class Config:
    """Attributes:

    bundle: a folder, a URI, or a name below ``bundles/`` of the storage root.
    compare: several bundles to evaluate side by side instead.
    set: ``portraits``, or the name of a data set with truth below ``data/`` of the storage root, or its location.
    folder: folder of photographs (files, tars, Parquet); with set=portraits.
    names: text file with the names of the photographs to take; default: docs/evaluation.md.
    split: split of the data set.
    most: take at most so many photographs, the first ones; all if null.
    quick: take 12 photographs only, and do not photograph any again.
    sheets: draw every photograph's sheet in the report.
    concurrency: actors, each with one core; 0 runs without Ray.
    seed: of the bootstrap.
    storage: storage root; default: MOSAR_STORAGE, else ~/.mosar.
    """

    bundle: str = "released"
    compare: tuple[str, ...] = ()
    set: str = ""
    folder: str | None = None
    names: str | None = None
    split: str = "test"
    most: int | None = None
    quick: bool = False
    sheets: bool = True
    concurrency: int = 2
    seed: int = 0
    storage: str | None = None

    def __post_init__(self) -> None:
        if not self.set:
            raise ConfigError(f"set: missing; expected {PORTRAITS}, or the name of a data set with truth, like eval-v2")
        if (self.set == PORTRAITS) != (self.folder is not None):
            raise ConfigError(f"folder: expected with set={PORTRAITS}, and only then")
        if self.names is not None and self.set != PORTRAITS:
            raise ConfigError(f"names: expected with set={PORTRAITS} only")
        if len(set_of(self.compare)) != len(self.compare) or len(self.compare) == 1:
            raise ConfigError(f"compare: got {', '.join(self.compare)}; expected two or more different bundles")
        if self.most is not None and self.most < 2:
            raise ConfigError(f"most: got {self.most}, expected 2 or more: each photograph is compared with another")
        if self.concurrency < 0:
            raise ConfigError(f"concurrency: got {self.concurrency}, expected 0 or more")

    @property
    def bundles(self) -> tuple[str, ...]:
        return self.compare or (self.bundle,)


def set_of(names: tuple[str, ...]) -> frozenset[str]:
    """The different names; ``set`` is the name of an option in :class:`Config`."""
    return frozenset(names)
