"""From records to the figures of a set: value and bootstrap interval of every metric of every row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosar.jobs.evaluation.avatar import appearance, bootstrap, drifts, likeness
from mosar.jobs.evaluation.avatar.bootstrap import Index, Statistic
from mosar.jobs.evaluation.avatar.record import Record
from mosar.jobs.evaluation.avatar.rows import AVERAGE, LANDMARK_FIT, NO_NETWORK, ROWS

Numbers = NDArray[np.float64]

SHAPE = (
    *("neutral_vertex_mm", "vertex_mm", "nose_mm", "mouth_mm", "forehead_mm", "cheek_mm", "all_mm"),
    *("pose_deg", "pose_from_ray_deg"),
)
APPEARANCE = (
    "diffuse_delta_e", "gained_diffuse_delta_e", "hidden_diffuse_delta_e", "specular_psnr_db", "ao_psnr_db",
    "translucency_psnr_db", "normal_deg", "relit_psnr_db", "relit_gain_psnr_db", "shading_left",
)  # fmt: skip
_GAINED = ("relit_gain_psnr", "specular_psnr", "ao_psnr", "translucency_psnr")
YAWS = (("0_15", 0.0, 15.0), ("15_35", 15.0, 35.0), ("35_90", 35.0, 90.0))
GROUPS = 5
"""Equal groups by true lightness in which ``tone_bias`` is taken."""
PERCENT = {
    "landmark_nme": "landmark_nme_percent", "withheld_nme": "withheld_nme_percent", "judge_nme": "judge_nme_percent",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Rows:
    """Measures of the records that have an avatar, by row: arrays over records, NaN where there is no value."""

    records: Sequence[Record]

    def __call__(self, row: str, measure: str) -> Numbers:
        return np.array([float(r.values.get(row, {}).get(measure, np.nan)) for r in self.records])

    def has(self, row: str) -> bool:
        return any(row in r.values for r in self.records)


def summarise(
    records: Sequence[Record], statistics: Callable[[Rows, str], Mapping[str, Statistic]], seed: int
) -> dict[str, Any]:
    """``rows`` and ``intervals`` (row -> metric -> value), ``count``, ``failed`` and ``seconds_median``.

    None stands for a figure that cannot be had.
    """
    usable = [r for r in records if not r.failure]
    rows = Rows(usable)
    drawn = bootstrap.resamples([r.subject for r in usable], seed) if usable else []
    values: dict[str, dict[str, float | None]] = {}
    intervals: dict[str, dict[str, list[float] | None]] = {}
    for row in ROWS:
        if not rows.has(row):
            continue
        found = statistics(rows, row)
        values[row] = {name: bootstrap.value(of, len(usable)) for name, of in found.items()}
        intervals[row] = {
            name: None if values[row][name] is None else bootstrap.interval(of, drawn) for name, of in found.items()
        }
    return {
        "count": len(usable),
        "failed": len(records) - len(usable),
        "seconds_median": float(np.median([r.seconds for r in usable])) if usable else None,
        "rows": values,
        "intervals": intervals,
    }


def truth_statistics(rows: Rows, row: str) -> dict[str, Statistic]:
    """Metrics of a set with truth."""
    found: dict[str, Statistic] = {name: _mean(rows(row, name)) for name in SHAPE}
    found["vertex_over_mean_head"] = _ratio(rows(row, SHAPE[0]), rows(AVERAGE, SHAPE[0]))
    found["vertex_over_landmark_fit"] = _ratio(rows(row, SHAPE[0]), rows(LANDMARK_FIT, SHAPE[0]))
    found["all_over_landmark_fit"] = _ratio(rows(row, "all_mm"), rows(LANDMARK_FIT, "all_mm"))
    found |= dict(zip(("slope", "correlation"), _recovered(rows, row), strict=True))
    yaw = np.abs([r.facts["yaw"] for r in rows.records])
    for name, low, high in YAWS:
        own = (yaw >= low) & (yaw < high)
        found[f"vertex_mm_yaw_{name}"] = _mean(np.where(own, rows(row, "vertex_mm"), np.nan))
        found[f"all_mm_yaw_{name}"] = _mean(np.where(own, rows(row, "all_mm"), np.nan))
    detail = np.array([r.facts.get("detail_mm", np.nan) for r in rows.records])
    for name, own in (("without_relief", detail == 0), ("with_relief", detail > 0)):
        found[f"{SHAPE[0]}_{name}"] = _mean(np.where(own, rows(row, SHAPE[0]), np.nan))
    found |= {name: _mean(rows(row, name)) for name in APPEARANCE}
    found["normal_over_mean"] = _ratio(rows(row, "normal_deg"), rows(row, "mean_normal_deg"))
    for name in ("specular", "ao", "translucency"):
        found[f"{name}_over_mean_db"] = _mean(rows(row, f"{name}_psnr_db") - rows(row, f"mean_{name}_psnr_db"))
    true = rows(row, "true_lightness")
    found["tone_bias_worst"] = _tone_bias(rows(row, "lightness"), true)
    average = _tone_bias(rows(row, "average_lightness"), true)
    found["tone_bias_over_average"] = lambda index: (
        abs(found["tone_bias_worst"](index)) / max(abs(average(index)), 1e-6)
    )
    found["light_spread"] = _light_spread(rows, row)
    found["tone_interval_coverage"] = _mean(rows(row, "tone_inside"))
    return found | _against_no_network(rows, row, found["light_spread"])


def _against_no_network(rows: Rows, row: str, light_spread: Statistic) -> dict[str, Statistic]:
    """Ratios and gains over the row whose maps no network corrected."""
    names = ("diffuse_delta_e", "gained_diffuse_delta_e", "hidden_diffuse_delta_e", "shading_left")
    found = {f"{name}_over_no_network": _ratio(rows(row, name), rows(NO_NETWORK, name)) for name in names}
    frame = _light_spread(rows, NO_NETWORK)
    found["light_spread_over_no_network"] = lambda index: light_spread(index) / max(frame(index), 1e-6)
    gains = {f"{name}_gain_db": rows(row, f"{name}_db") - rows(NO_NETWORK, f"{name}_db") for name in _GAINED}
    return found | {name: _mean(values) for name, values in gains.items()}


def portrait_statistics(rows: Rows, row: str) -> dict[str, Statistic]:
    """Metrics of photographs without truth."""
    found: dict[str, Statistic] = {name: _mean(100 * rows(row, measure)) for measure, name in PERCENT.items()}
    found["render_psnr_db"] = _median(rows(row, "render_psnr_db"))
    found["mask_share"] = _mean(rows(row, "mask_share"))
    found |= _likeness(rows, row)
    found["shading_left_right"] = _ratio(rows(row, "albedo_left_right"), rows(row, "photograph_left_right"))
    names = [*drifts.DRIFTS, drifts.TURNED]
    for unit in ("mm", "delta_e"):
        each = {name: rows(row, f"rephoto_{unit}_{name}") for name in names}
        found[f"rephoto_{unit}"] = _mean(np.mean([each[name] for name in drifts.PHOTOMETRIC], axis=0))
        found |= {f"rephoto_{unit}_{name}": _mean(values) for name, values in each.items()}
    found["hidden_half_over_average"] = _mean(rows(row, "hidden_half_over_average"))
    return found


def _mean(values: Numbers) -> Statistic:
    return lambda index: _known(values[index]).mean() if len(_known(values[index])) else np.nan


def _median(values: Numbers) -> Statistic:
    return lambda index: float(np.median(_known(values[index]))) if len(_known(values[index])) else np.nan


def _known(values: Numbers) -> Numbers:
    return values[np.isfinite(values)]


def _ratio(above: Numbers, below: Numbers) -> Statistic:
    """Ratio of the sums over the items that have both."""
    both = np.isfinite(above) & np.isfinite(below)
    above, below = np.where(both, above, 0.0), np.where(both, below, 0.0)

    def of(index: Index) -> float:
        total = float(below[index].sum())
        return float(above[index].sum()) / total if total > 1e-9 else np.nan

    return of


def _tone_bias(lightness: Numbers, true: Numbers) -> Statistic:
    """Mean signed error of L* in the worst of five equal groups by true L*."""

    def of(index: Index) -> float:
        known = index[np.isfinite(lightness[index])]
        if len(known) < GROUPS:
            return np.nan
        order = known[np.argsort(true[known], kind="stable")]
        biases = [float((lightness - true)[group].mean()) for group in np.array_split(order, GROUPS)]
        return max(biases, key=abs)

    return of


def _recovered(rows: Rows, row: str) -> tuple[Statistic, Statistic]:
    """Slope and correlation of found on true offset from the average head, over vertices and people.

    The mean over people is taken out: a method that answers the same head for everybody has slope 0.
    """
    has = np.array(["deviation" in r.arrays.get(row, {}) for r in rows.records])
    empty = np.zeros(1, np.float32)
    found, true = (
        np.stack([r.arrays[row][name].ravel() for r in rows.records if "deviation" in r.arrays.get(row, {})] or [empty])
        for name in ("deviation", "true_deviation")
    )
    place = np.cumsum(has) - 1
    products = [
        np.asarray(a, np.float64) @ np.asarray(b, np.float64).T
        for a, b in ((found, true), (true, true), (found, found))
    ]

    def centred(gram: Numbers, index: Index) -> float:
        """Sum of squares around the mean, from inner products alone."""
        return float(gram[index, index].sum() - gram[np.ix_(index, index)].sum() / len(index))

    def of(scale: Callable[[float, float, float], float]) -> Statistic:
        def statistic(index: Index) -> float:
            known = place[index[has[index]]]
            if len(set(known.tolist())) < 2:
                return np.nan
            return scale(*(centred(gram, known) for gram in products))

        return statistic

    return (
        of(lambda both, true, _: both / true if true > 1e-9 else np.nan),
        of(lambda both, true, own: both / np.sqrt(true * own) if true > 1e-9 and own > 1e-9 * true else 0.0),
    )


def _light_spread(rows: Rows, row: str) -> Statistic:
    """Mean over people with several lights; the value stands at each person's first photograph."""
    values = np.full(len(rows.records), np.nan)
    by_person: dict[str, list[int]] = {}
    for number, record in enumerate(rows.records):
        if "albedo" in record.arrays.get(row, {}):
            by_person.setdefault(record.subject, []).append(number)
    for own in by_person.values():
        spread = appearance.light_spread([rows.records[i].arrays[row] for i in own])
        if spread is not None:
            values[own[0]] = spread
    return _mean(values)


def _likeness(rows: Rows, row: str) -> dict[str, Statistic]:
    """Distances of the recognition network over that of different people; undefined without the network."""
    names = ("likeness_render_ratio", "likeness_relit_ratio", "likeness_rank1")
    has = [i for i, r in enumerate(rows.records) if "relit" in r.arrays.get(row, {})]
    nothing = np.full(len(rows.records), np.nan)
    if len(has) < 2:
        return {name: _mean(nothing) for name in names}
    arrays = [rows.records[i].arrays[row] for i in has]
    photographs = np.stack([a["photograph_descriptor"] for a in arrays])
    apart = likeness.others(photographs)
    found = []
    render = [np.linalg.norm(a["render"] - a["photograph_descriptor"]) / apart for a in arrays]
    relit = [np.linalg.norm(a["relit"] - a["photograph_descriptor"], axis=-1).mean() / apart for a in arrays]
    for values in (render, relit, likeness.rank1(photographs, [a["relit"] for a in arrays])):
        every = nothing.copy()
        every[has] = values
        found.append(_mean(every))
    return dict(zip(names, found, strict=True))
