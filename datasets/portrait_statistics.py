"""Statistics of real portraits: expressions, head pose, crop, light and exposure, from which captures are drawn.

The committed file holds means and covariances over groups of at least ``SMALLEST`` photographs: no photograph and no
record of a person. ``jobs/measure_portraits.py`` makes it from a folder of photographs.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mosar.errors import DataError
from mosar.models.head.expressions import NAMES

ASSET = Path(__file__).parent / "assets" / "portrait_statistics.json"
SMALLEST = 20
"""Photographs in a group of expressions, at least."""
GROUPS, FACTORS = 5, 3
_GAIN = {
    "browDown": 0.35,
    "eyeSquint": 0.55,
    "eyeBlink": 0.5,
    "mouthUpperUp": 1.7,
    "mouthLowerDown": 1.7,
    "jawOpen": 1.4,
}
"""Factors on weights by which rendered faces open lids and lips as far as portraits do: in the median, lids .29 of an
eye's width and lips .13 of the mouth's. Low brows are mostly the shape of people's faces."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Group:
    """Normal distribution of the square roots of the detector's scores (52): ``mean + factors.T @ N(0, 1)``."""

    share: float
    mean_e: Floats
    factors_ke: Floats


@dataclass(frozen=True, eq=False)
class PortraitStatistics:
    """Statistics of ``count`` portraits.

    Attributes:
        groups: expressions, a mixture.
        bias_e, slope_e: the detector's score on rendered faces: about ``bias + slope * weight`` of the expression.
        pose: mean (3) and covariance (3, 3) of yaw (to the subject's left), pitch (up) and roll, degrees.
        box: mean (3) and deviation (3), over rendered faces, of the box of detected points relative to the box of the
            true ones: shift right and down in shares of its longer side, and the logarithm of the ratio of the sides.
        outside: quantiles (11) of the share of the crop's side beyond the photograph: left, top, right, bottom.
        light: mean (8) and covariance (8, 8) of the coefficients of bands 1 and 2 of the light's luminance, relative
            to band 0; head frame.
        brightness: mean and deviation of the logarithm of the skin's median luminance in the picture, linear.
    """

    count: int
    groups: tuple[Group, ...]
    bias_e: Floats
    slope_e: Floats
    pose: tuple[Floats, Floats]
    box: tuple[Floats, Floats]
    outside_4q: Floats
    light: tuple[Floats, Floats]
    brightness: tuple[float, float]

    def expression(self, names: Sequence[str], rng: np.random.Generator) -> Floats:
        """Weights (E) in [0, 1] of the head's expressions ``names``, for which the detector scores as in portraits.

        Gaze is zero: the camera decides it. Cheeks, which the detector does not see, rise with a smile.
        """
        group = self.groups[rng.choice(len(self.groups), p=[g.share for g in self.groups])]
        root = group.mean_e + rng.normal(0, 1, len(group.factors_ke)) @ group.factors_ke
        weight = np.clip((np.clip(root, 0, 1) ** 2 - self.bias_e) / self.slope_e, 0, 1)
        found = dict(zip(NAMES, weight, strict=True))
        for name, value in found.items():
            gain = _GAIN.get(name.removesuffix("Left").removesuffix("Right"), 1.0)
            found[name] = 0.0 if name.startswith("eyeLook") else min(gain * value, 1.0)
        for side in ("Left", "Right"):
            found[f"cheekSquint{side}"] = rng.uniform(0.05, 0.35) * found[f"mouthSmile{side}"]
        return np.array([found.get(name, 0.0) for name in names])

    def angles(self, rng: np.random.Generator) -> Floats:
        """Yaw, pitch and roll of a head, degrees, around zero: the mean of the poses is the detector's habit."""
        return np.asarray(rng.multivariate_normal(np.zeros(3), self.pose[1], method="cholesky"))

    def low_light(self, rng: np.random.Generator) -> Floats:
        """Coefficients (9) of bands 0 to 2 of the luminance of a portrait's light; the first is 1."""
        return np.concatenate([[1.0], rng.multivariate_normal(*self.light, method="cholesky")])

    def detected_box(self, rng: np.random.Generator) -> Floats:
        """Shift right and down, in shares of the longer side, and growth of a face's box as a detector would see it."""
        right, down, grown = rng.normal(*self.box)
        return np.array([right, down, np.exp(grown)])

    def margins(self, rng: np.random.Generator) -> Floats:
        """Shares of a crop's side that lie beyond the photograph: left, top, right, bottom."""
        place = np.linspace(0, 1, self.outside_4q.shape[1])
        return np.array([np.interp(rng.random(), place, side) for side in self.outside_4q])

    def to_json(self) -> dict[str, Any]:
        """As a mapping of plain numbers, rounded."""

        def plain(values: Any) -> Any:
            return np.asarray(values, np.float64).round(4).tolist()

        return {
            "version": 1,
            "count": self.count,
            "expressions": [
                {"share": round(g.share, 4), "mean": plain(g.mean_e), "factors": plain(g.factors_ke)}
                for g in self.groups
            ],
            "detector": {"bias": plain(self.bias_e), "slope": plain(self.slope_e)},
            "pose": {"mean": plain(self.pose[0]), "covariance": plain(self.pose[1])},
            "box": {"mean": plain(self.box[0]), "deviation": plain(self.box[1])},
            "outside": plain(self.outside_4q),
            "light": {"mean": plain(self.light[0]), "covariance": np.asarray(self.light[1]).round(6).tolist()},
            "brightness": plain(self.brightness),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_json`.

        Raises:
            DataError: another version, or numbers of another shape.
        """
        try:
            if values["version"] != 1:
                raise DataError(f"portrait statistics: version {values['version']}, expected 1")
            shares = np.array([g["share"] for g in values["expressions"]], np.float64)
            found = cls(
                count=int(values["count"]),
                groups=tuple(
                    Group(float(share), np.array(g["mean"]), np.array(g["factors"]))
                    for share, g in zip(shares / shares.sum(), values["expressions"], strict=True)
                ),
                bias_e=np.array(values["detector"]["bias"]),
                slope_e=np.array(values["detector"]["slope"]),
                pose=(np.array(values["pose"]["mean"]), np.array(values["pose"]["covariance"])),
                box=(np.array(values["box"]["mean"]), np.array(values["box"]["deviation"])),
                outside_4q=np.array(values["outside"]),
                light=(np.array(values["light"]["mean"]), np.array(values["light"]["covariance"])),
                brightness=(float(values["brightness"][0]), float(values["brightness"][1])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"portrait statistics: not readable ({error})") from error
        e = len(NAMES)
        shapes = [found.bias_e.shape, found.slope_e.shape, found.pose[1].shape, found.light[1].shape,
                  *(g.mean_e.shape for g in found.groups), found.outside_4q.shape[:1]]  # fmt: skip
        expected = [(e,), (e,), (3, 3), (8, 8), *[(e,)] * len(found.groups), (4,)]
        if shapes != expected:
            raise DataError(f"portrait statistics: arrays of shapes {shapes}, expected {expected}")
        return found


@functools.cache
def load(path: Path = ASSET) -> PortraitStatistics:
    """Read the statistics from a file.

    Raises:
        DataError: the file is missing or not readable.
    """
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"portrait statistics {path}: {error}; restore the file from the repository") from error
    return PortraitStatistics.from_json(values)


def expression_groups(scores_ne: NDArray[np.floating], seed: int = 0) -> tuple[Group, ...]:
    """Fit the mixture to scores (n, 52): k-means of the square roots, then the largest factors of each group."""
    from scipy.cluster.vq import kmeans2

    root = np.sqrt(np.clip(np.asarray(scores_ne, np.float64), 0, 1))
    most = max(1, min(GROUPS, len(root) // (2 * SMALLEST)))
    for count in range(most, 0, -1):
        _, label = kmeans2(root, count, minit="++", rng=np.random.default_rng(seed))
        sizes = np.bincount(label, minlength=count)
        if sizes.min() >= min(SMALLEST, len(root)):
            break
    groups = []
    for number in range(count):
        own = root[label == number]
        mean = own.mean(0)
        _, size, axes = np.linalg.svd(own - mean, full_matrices=False)
        factors = size[:FACTORS, None] / np.sqrt(max(len(own) - 1, 1)) * axes[:FACTORS]
        groups.append(Group(len(own) / len(root), mean, factors))
    return tuple(groups)
