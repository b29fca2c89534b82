"""Streams read in this process: damaged samples, several streams in proportion, their positions."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mosar.errors import ConfigError, DataError
from mosar.jobs.fault_injection import toy
from mosar.platform.data import shards, stream
from mosar.platform.data.manifest import open_manifest
from mosar.platform.data.stream import ROWS, Source
from mosar.platform.training.train_config import TrainConfig

TRAIN = (toy.SHARDS - 2) * toy.SAMPLES


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """12 labelled and 4 unlabelled samples per step."""
    places = toy.make_data(str(tmp_path), ("labelled", "unlabelled"))
    streams = toy.Stage(0.0, "").streams
    return [
        Source(n, p, open_manifest(p).digest, "train", {"labelled": 12, "unlabelled": 4}[n], 0,
               toy.decoder(streams[n], streams[n].augment))
        for n, p in places.items()
    ]  # fmt: skip


def rows(sources: list[Source], name: str, steps: range, slices: int = 2) -> list[int]:
    return stream.read_steps(sources, steps, range(slices), slices)[f"{name}/{ROWS}"].ravel().tolist()


def damage(location: str, shard: int, indices: list[int]) -> list[int]:
    """Flip a byte in some samples of a shard. Returns their rows."""
    manifest = open_manifest(location)
    path = Path(manifest.shard_location(shard))
    content = bytearray(path.read_bytes())
    for extent in manifest.extents(shard, indices):
        content[extent.offset + 600] ^= 1
    path.write_bytes(content)
    return [manifest.row(shard, index) for index in indices]


def with_policy(sources: list[Source], policy: str) -> list[Source]:
    return [Source(**{**vars(source), "on_corrupt": policy}) for source in sources]


def test_each_stream_has_a_position_of_its_own(sources: list[Source]) -> None:
    """Epochs end at different steps: each epoch of each stream holds every sample once."""
    labelled, unlabelled = (rows(sources, name, range(40)) for name in ("labelled", "unlabelled"))
    assert (len(labelled), len(unlabelled)) == (480, 160)
    for epoch in range(3):
        assert sorted(labelled[epoch * TRAIN : (epoch + 1) * TRAIN]) == list(range(TRAIN))
    assert sorted(unlabelled) == list(range(TRAIN))
    assert labelled[:TRAIN] != labelled[TRAIN : 2 * TRAIN]
    assert rows(sources, "labelled", range(40), slices=4) == labelled


def test_a_damaged_sample_stops_with_an_error_that_names_it(sources: list[Source]) -> None:
    damage(sources[0].location, 3, [5])
    with pytest.raises(DataError, match=r"labelled/shard-000003\.tar: sample 's3-5' was altered"):
        rows(sources, "labelled", range(14))


def test_a_damaged_sample_is_skipped_and_counted_and_all_others_keep_their_steps(sources: list[Source]) -> None:
    before = rows(sources, "labelled", range(14))
    bad = damage(sources[0].location, 3, [0, 5, 6])
    after = rows(with_policy(sources, "skip"), "labelled", range(14))
    assert Counter(row for row in after if row < 0) == Counter(-1 - row for row in before if row in bad)
    assert [row if row >= 0 else -1 - row for row in after] == before
    step = next(number for number, row in enumerate(after) if row < 0) // 12
    found = stream.read_steps(with_policy(sources, "skip"), range(step, step + 1), [0], 1)
    assert found["labelled/x"].shape == (1, 12, toy.WIDTH)
    assert len(np.unique(found["labelled/y"])) < 12


def test_a_missing_shard_is_skipped_but_a_whole_step_is_not(sources: list[Source]) -> None:
    manifest = open_manifest(sources[0].location)
    Path(manifest.shard_location(2)).unlink()
    skipped = [row for row in rows(with_policy(sources, "skip"), "labelled", range(13)) if row < 0]
    assert 0 < len(skipped) <= toy.SAMPLES
    for shard in set(range(toy.SHARDS)) - {2}:
        Path(manifest.shard_location(shard)).unlink()
    with pytest.raises(DataError, match="none of 64 samples from place 6 on can be read"):
        rows(with_policy(sources, "skip"), "labelled", range(1))


def test_a_damaged_slice_of_one_sample_uses_the_sample_of_the_next_place(sources: list[Source]) -> None:
    before = rows(sources, "labelled", range(14))
    bad = damage(sources[0].location, 3, [0, 5, 6])
    skipping = with_policy(sources, "skip")
    first = next(place for place, row in enumerate(before) if row in bad)
    found = stream.read_steps(skipping[:1], range(first // 12, first // 12 + 1), range(12), 12)
    assert found["labelled/x"].shape == (12, 1, toy.WIDTH)
    assert found[f"labelled/{ROWS}"].ravel()[first % 12] == -1 - before[first]
    sound = next(row for row in before[first + 1 :] if row not in bad)
    after = first + 1 + before[first + 1 :].index(sound)
    alone = stream.read_steps(skipping[:1], range(after // 12, after // 12 + 1), range(12), 12)
    assert np.array_equal(found["labelled/y"][first % 12], alone["labelled/y"][after % 12])


def refusing(source: Source, bad: set[bytes], policy: str) -> Source:
    """A source whose decoder refuses some samples, although their bytes are undamaged."""

    def decode(members: Mapping[str, bytes], seed: int) -> stream.Arrays:
        if set(members.values()) & bad:
            raise DataError("member x.npy cannot be read as an array")
        return source.decode(members, seed)

    return Source(**{**vars(source), "decode": decode, "on_corrupt": policy})


def test_a_sample_that_cannot_be_decoded_stops_with_an_error_or_is_skipped(sources: list[Source]) -> None:
    labelled = sources[0]
    manifest = open_manifest(labelled.location)
    (members,) = shards.read_samples(manifest.shard_location(3), manifest.extents(3, [5]))
    bad, row = set(members.values()), manifest.row(3, 5)
    before = rows([labelled], "labelled", range(13))
    with pytest.raises(DataError, match=r"labelled/shard-000003\.tar: sample 's3-5': member x\.npy cannot be read"):
        rows([refusing(labelled, bad, "stop")], "labelled", range(13))
    after = rows([refusing(labelled, bad, "skip")], "labelled", range(13))
    assert after == [-1 - number if number == row else number for number in before]
    assert before.count(row) == 1


def test_a_trace_needs_a_line_for_each_step() -> None:
    with pytest.raises(ConfigError, match=r"train\.trace.*log_every=1"):
        TrainConfig(steps=1, batch=1, trace=True)
