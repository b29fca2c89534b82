import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosar.errors import ConfigError
from mosar.platform.data.sampler import Sampler
from mosar.platform.data.stream import shares

COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=30)


def places(order: Sampler, start: int, stop: int) -> list[tuple[int, int]]:
    shard, index = order.places(start, stop)
    return list(zip(shard.tolist(), index.tolist(), strict=True))


@settings(deadline=None)
@given(COUNTS, st.integers(0, 5), st.integers(1, 6), st.integers(0, 3))
def test_every_epoch_holds_every_sample_once(counts: list[int], seed: int, window: int, epoch: int) -> None:
    order = Sampler(np.array(counts), seed, window)
    total = sum(counts)
    found = places(order, epoch * total, (epoch + 1) * total)
    assert sorted(found) == [(shard, i) for shard, count in enumerate(counts) for i in range(count)]


@settings(deadline=None)
@given(COUNTS, st.integers(0, 3), st.lists(st.integers(0, 200), min_size=2, max_size=6), st.integers(1, 6))
def test_the_order_does_not_depend_on_how_it_is_cut(counts: list[int], seed: int, cuts: list[int], window: int) -> None:
    cuts = sorted(cuts)
    whole = places(Sampler(np.array(counts), seed, window), cuts[0], cuts[-1])
    parts = [places(Sampler(np.array(counts), seed, window), a, b) for a, b in itertools.pairwise(cuts)]
    assert [place for part in parts for place in part] == whole


@settings(deadline=None)
@given(COUNTS, st.integers(1, 3), st.sampled_from([1, 2, 3, 4, 6, 12]), st.integers(0, 20))
def test_workers_together_read_the_step_whatever_their_number(
    counts: list[int], seed: int, workers: int, step: int
) -> None:
    """A step's share of 12 in 12 slices: worker r of W takes slices [12 r / W, 12 (r + 1) / W)."""
    order = Sampler(np.array(counts), seed)
    read = []
    for rank in range(workers):
        for slice_ in range(rank * 12 // workers, (rank + 1) * 12 // workers):
            read += places(order, step * 12 + slice_, step * 12 + slice_ + 1)
    assert read == places(order, step * 12, (step + 1) * 12)


def test_shuffling_mixes_shards_and_differs_by_seed_and_epoch() -> None:
    counts = np.full(64, 20)
    first = Sampler(counts, seed=0)
    shards = first.places(0, 200)[0]
    assert len(set(shards.tolist())) > 10
    assert places(first, 0, 100) != places(first, 1280, 1380)
    assert places(first, 0, 100) != places(Sampler(counts, seed=1), 0, 100)
    assert places(first, 0, 100) == places(Sampler(counts, seed=0), 0, 100)


def test_a_window_bounds_how_many_shards_are_open_at_once() -> None:
    order = Sampler(np.full(64, 20), seed=0, window=4)
    for window in range(16):
        assert len(set(order.places(window * 80, (window + 1) * 80)[0].tolist())) == 4


def test_no_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        Sampler(np.array([3, 0]), seed=0)


def test_shares_are_exact_or_refused() -> None:
    assert shares({"a": 0.75, "b": 0.25}, 16, 2) == {"a": 12, "b": 4}
    assert shares({"a": 1.0}, 7, 1) == {"a": 7}
    with pytest.raises(ConfigError, match=r"add up to 0\.9"):
        shares({"a": 0.9}, 10, 1)
    with pytest.raises(ConfigError, match=r"batch: 10 x 0\.75 of stream 'a' are 7\.5"):
        shares({"a": 0.75, "b": 0.25}, 10, 1)
    with pytest.raises(ConfigError, match="cannot be cut into 4 equal slice"):
        shares({"a": 0.75, "b": 0.25}, 8, 4)
