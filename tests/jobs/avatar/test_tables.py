import numpy as np
import pytest

from mosar.jobs.evaluation.avatar import appearance, bootstrap, report, tables
from mosar.jobs.evaluation.avatar.config import Config
from mosar.jobs.evaluation.avatar.record import Record
from mosar.jobs.evaluation.avatar.rows import AVERAGE, OURS

RNG = np.random.default_rng(0)


def people(found_of, count=8):
    """Records of people whose true deviation is random, with ``found_of(true)`` as the found one."""
    records = []
    for number in range(count):
        true = RNG.normal(size=(30, 3)).astype(np.float32)
        arrays = {OURS: {"deviation": np.float32(found_of(true)), "true_deviation": true}}
        records.append(Record(str(number), str(number), facts={"yaw": 5.0}, values={OURS: {}}, arrays=arrays))
    return records


@pytest.mark.parametrize(
    ("found_of", "slope", "correlation"),
    [
        (lambda true: 0.5 * true, 0.5, 1.0),
        (lambda true: 0 * true, 0.0, 0.0),
        (lambda true: 0 * true + 3.0, 0.0, 0.0),  # everybody the same head, but not the average one
        (lambda true: -true, -1.0, -1.0),
    ],
)
def test_slope_and_correlation(found_of, slope, correlation):
    found = tables.summarise(people(found_of), tables.truth_statistics, seed=0)
    assert found["rows"][OURS]["slope"] == pytest.approx(slope, abs=1e-5)
    assert found["rows"][OURS]["correlation"] == pytest.approx(correlation, abs=1e-5)
    low, high = found["intervals"][OURS]["slope"]
    assert low - 1e-6 <= slope <= high + 1e-6


def with_values(**measures):
    count = len(next(iter(measures.values())))
    return [
        Record(str(i), str(i // 2), facts={"yaw": 20.0 * i}, values={OURS: {k: v[i] for k, v in measures.items()}})
        for i in range(count)
    ]


def test_tone_bias_is_that_of_the_worst_of_five_groups():
    true = np.linspace(20, 80, 10)
    lightness = true + 1.0
    lightness[:2] += 9.0  # the darkest come out too light
    records = with_values(lightness=lightness, true_lightness=true, average_lightness=np.full(10, 50.0))
    found = tables.summarise(records, tables.truth_statistics, seed=0)["rows"][OURS]
    assert found["tone_bias_worst"] == pytest.approx(10.0)
    assert found["tone_bias_over_average"] == pytest.approx(10.0 / (50 - true[:2].mean()))


def test_values_means_bins_and_what_is_missing():
    records = with_values(vertex_mm=np.array([1.0, 2.0, 3.0, np.nan]))
    records.append(Record("x", "x", failure="no face was found"))
    found = tables.summarise(records, tables.truth_statistics, seed=0)
    ours = found["rows"][OURS]
    assert (found["count"], found["failed"]) == (4, 1)
    assert ours["vertex_mm"] == pytest.approx(2.0)
    assert (ours["vertex_mm_yaw_0_15"], ours["vertex_mm_yaw_15_35"]) == (1.0, 2.0)
    assert ours["nose_mm"] is None
    assert ours["vertex_over_mean_head"] is None
    assert AVERAGE not in found["rows"]
    assert tables.summarise([], tables.truth_statistics, seed=0)["rows"] == {}


def test_intervals_cover_the_mean_and_are_the_same_twice():
    values = RNG.normal(10, 2, 60)
    drawn = bootstrap.resamples([str(i) for i in range(60)], seed=3)
    low, high = bootstrap.interval(lambda index: values[index].mean(), drawn)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(60), rel=0.2)
    again = bootstrap.resamples([str(i) for i in range(60)], seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(drawn, again, strict=True))


def test_people_are_drawn_whole():
    for index in bootstrap.resamples(["a", "a", "b", "b"], seed=0, rounds=20):
        assert [list(pair) for pair in index.reshape(-1, 2)] in (
            [[0, 1], [2, 3]], [[2, 3], [0, 1]], [[0, 1], [0, 1]], [[2, 3], [2, 3]],
        )  # fmt: skip


def test_light_spread():
    size = appearance.SPREAD
    lit = [np.full((3, size, size), v, np.float32) for v in (0.0, 1.0)]
    skin = RNG.normal(size=(3, size, size)).astype(np.float32)
    shown = np.ones((size, size), np.float32)

    def captures(left):
        return [{"albedo": skin + left * light, "photograph": skin + light, "shown": shown} for light in lit]

    assert appearance.light_spread(captures(0.0)) == pytest.approx(0.0, abs=1e-6)
    assert appearance.light_spread(captures(1.0)) == pytest.approx(1.0, abs=1e-5)
    assert appearance.light_spread(captures(0.3)) == pytest.approx(0.3, abs=1e-5)
    assert appearance.light_spread(captures(0.3)[:1]) is None


def test_the_report_holds_every_row_and_photograph():
    tile = np.zeros((8, 8, 3), np.uint8)
    records = {
        name: [
            Record(f"k{i}", f"k{i}", values={OURS: {"vertex_mm": 1.0, "all_mm": float(i)}, AVERAGE: {"vertex_mm": 2.0}},
                   facts={"yaw": 10.0 * i, "tone": 40.0}, tiles={"photograph": tile})
            for i in range(3)
        ] + [Record("lost", "lost", failure="no face was found")]
        for name in ("old", "new")
    }  # fmt: skip
    summaries = {name: tables.summarise(own, tables.truth_statistics, 0) for name, own in records.items()}
    config = Config(compare=("old", "new"), set="eval-v1")
    page = report.page(config, summaries, records)
    assert page == report.page(config, summaries, records)
    for word in ("old", "new", "average", "vertex_mm", "k0", "k2", "no face was found"):
        assert word in page
    assert page.index("lost") < page.index("k2") < page.index("<h2>All")  # failures are the worst
    assert "http" not in page.replace("http://www.w3.org", "")
    table = report.text_table(summaries)
    assert "old" in table
    assert "average" in table
