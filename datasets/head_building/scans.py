"""Statistics of scanned heads of one topology: the source of a registration.

Legend: v vertices, f triangles, m modes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mosar.errors import DataError

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

PARTS = ("left_eye", "right_eye", "upper_teeth", "lower_teeth")
"""Parts that are aligned on their own; each may be missing."""


@dataclass(frozen=True, eq=False)
class Scans:
    """Mean, modes and expressions of scanned people.

    Attributes:
        name: of the source.
        mean_v3: average neutral head in mm, +x to the subject's left, +y up, +z out of the face; any origin.
        skin_f3: triangles of the visible skin, counter-clockwise seen from outside.
        all_f3: all triangles.
        modes_mv3: offsets at one standard deviation, mm; weights of people are independent and standard normal.
        expressions: offsets at full strength, mm, by the source's own names.
        parts: vertices of each of ``PARTS`` that the scans have.
    """

    name: str
    mean_v3: Array
    skin_f3: Index
    all_f3: Index
    modes_mv3: npt.NDArray[np.float32]
    expressions: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    parts: Mapping[str, Index] = field(default_factory=dict)

    def __post_init__(self) -> None:
        vertices = len(self.mean_v3)
        for what, offsets in (("modes", self.modes_mv3), *self.expressions.items()):
            if offsets.shape[-2:] != (vertices, 3):
                raise DataError(f"{self.name}: {what} have shape {offsets.shape}, expected (..., {vertices}, 3)")
            if not np.isfinite(offsets).all():
                raise DataError(f"{self.name}: {what} hold a value that is not finite")
        if not np.isfinite(self.mean_v3).all():
            raise DataError(f"{self.name}: the mean holds a value that is not finite")
        if not len(self.skin_f3) or self.skin_f3.min() < 0 or self.skin_f3.max() >= vertices:
            raise DataError(f"{self.name}: triangles of the skin are missing or name vertices beyond {vertices}")


def expression_table(wanted: tuple[str, ...], given: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """For each wanted (ARKit) name the given names whose offsets sum to it; names without a counterpart are left out.

    ``browInnerUp`` is found as such, or as ``browInnerUp_L`` plus ``browInnerUp_R``; ``eyeBlinkLeft`` also as
    ``eyeBlink_L``.
    """
    table: dict[str, tuple[str, ...]] = {}
    for name in wanted:
        candidates = [(name,), (f"{name}_L", f"{name}_R")]
        for side in ("Left", "Right"):
            if name.endswith(side):
                candidates.append((f"{name.removesuffix(side)}_{side[0]}",))
        for names in candidates:
            if all(given_name in given for given_name in names):
                table[name] = names
                break
    return table
