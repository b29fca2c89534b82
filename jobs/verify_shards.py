"""Check every byte of a data set: tables, shards, each sample, and whether the samples fit together.

python jobs/verify_shards.py data=virtual-tiny

Prints one line per fault (shard, key, kind and message); the exit code is 2 if there is any.
"""

import sys
from collections import Counter
from dataclasses import dataclass

from mosar.errors import ConfigError, DataError
from mosar.jobs import hydra_main
from mosar.jobs.inspection import validation
from mosar.jobs.inspection.validation import Fault
from mosar.platform import cluster, storage
from mosar.platform.data.ordered_map import streamed


@dataclass(frozen=True)
class VerifyShards:
    """Attributes:

    data: name of the data set.
    storage: root of the data; default: MOSAR_STORAGE, else ~/.mosar.
    concurrency: number of shards read at once; the cluster's cores if null; 0 runs without Ray.
    """

    data: str = ""
    storage: str | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        if not self.data or "/" in self.data or self.data.startswith("."):
            raise ConfigError(f"data: got {self.data!r}, expected the name of a data set")
        if self.concurrency is not None and self.concurrency < 0:
            raise ConfigError(f"concurrency: got {self.concurrency}, expected at least 0")


def main(config: VerifyShards) -> None:
    location = storage.join(storage.root(config.storage), "data", config.data)
    if config.concurrency == 0:
        faults, samples = verify(location, 0)
    else:
        validation.check_tables(location)  # report invalid input before a cluster is started
        with cluster.connect():
            faults, samples = verify(location, config.concurrency or cluster.cpus())
    for fault in faults:
        print(fault)
    print(f"{location}: {samples} whole samples, {len(faults)} faults")
    if faults:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(f.kind for f in faults).items()))
        raise DataError(f"{location}: {kinds}")


def verify(location: str, concurrency: int) -> tuple[list[Fault], int]:
    """Return all faults of a data set (tables first, then by shard) and the number of samples without a fault.

    Raises:
        DataError: its tables are missing or cannot be read.
    """
    faults, plans = validation.check_tables(location)
    alike = []
    for plan, (found, like) in zip(plans, streamed(plans, validation.check_shard, concurrency), strict=True):
        faults += found
        alike.append((plan.name, like))
    return faults + validation.check_together(alike), sum(count for _, like in alike for _, count in like.values())


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, VerifyShards, "verify_shards"))
