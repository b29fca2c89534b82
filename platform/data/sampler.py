"""The sample order of a stream: a pure function of (sample counts of the shards, seed, epoch).

Places are numbered without end: place ``p`` lies in epoch ``p // samples``. Each epoch permutes the shards, groups
consecutive shards into windows, and permutes the samples of each window together. So shuffling mixes shards, a sample
occurs once per epoch, and any place is found by look-up without the places before it. Workers do not affect the order.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mosar.platform.storage import digest

Indices = npt.NDArray[np.int64]


class Sampler:
    """Shuffled order over shards that hold ``samples_n`` samples each."""

    def __init__(self, samples_n: Indices, seed: int, window: int = 16) -> None:
        """``window`` is the number of shards whose samples are shuffled together.

        Raises:
            ValueError: there are no shards, or one has no samples.
        """
        if samples_n.size == 0 or samples_n.min() < 1:
            raise ValueError("an order needs shards with at least one sample each")
        self.samples = int(samples_n.sum())
        self._samples_n = samples_n
        self._seed = seed
        self._window = window
        self._epoch = lru_cache(maxsize=2)(self._compute_epoch)
        self._shuffled = lru_cache(maxsize=4)(self._compute_window)

    def places(self, start: int, stop: int) -> tuple[Indices, Indices]:
        """Shard numbers and indices within the shards of the samples at places ``[start, stop)``."""
        shards, indices = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        while start < stop:
            epoch, offset = divmod(start, self.samples)
            _, ends = self._epoch(epoch)
            window = int(np.searchsorted(ends, offset, side="right"))
            first = int(ends[window - 1]) if window else 0
            count = min(stop - start, int(ends[window]) - offset)
            shard, index = self._shuffled(epoch, window)
            shards.append(shard[offset - first : offset - first + count])
            indices.append(index[offset - first : offset - first + count])
            start += count
        return np.concatenate(shards), np.concatenate(indices)

    def _compute_epoch(self, epoch: int) -> tuple[Indices, Indices]:
        """The shards in their order, and the number of samples up to the end of each window."""
        shard_n = self._generator(epoch).permutation(self._samples_n.size)
        ends = np.cumsum(self._samples_n[shard_n], dtype=np.int64)
        last = np.minimum(np.arange(self._window, ends.size + self._window, self._window), ends.size) - 1
        return shard_n, ends[last]

    def _compute_window(self, epoch: int, window: int) -> tuple[Indices, Indices]:
        shard_n = self._epoch(epoch)[0][window * self._window : (window + 1) * self._window]
        counts = self._samples_n[shard_n]
        shard = np.repeat(shard_n, counts)
        index = np.arange(shard.size) - np.repeat(np.cumsum(counts) - counts, counts)
        shuffle = self._generator(epoch, window).permutation(shard.size)
        return shard[shuffle], index[shuffle]

    def _generator(self, *parts: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(digest.seed("order", self._seed, *parts)))
