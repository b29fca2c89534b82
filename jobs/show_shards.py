"""Show a data set: its shards, a contact sheet, and its card (``card.html``: counts, plots, licences, pictures).

python jobs/show_shards.py data=virtual-tiny
"""

import sys
from dataclasses import dataclass

from mosar.errors import ConfigError
from mosar.jobs import hydra_main
from mosar.jobs.inspection import contact_sheet, data_card
from mosar.platform import storage
from mosar.platform.data.manifest import Manifest


@dataclass(frozen=True)
class ShowShards:
    """Attributes:

    data: name of the data set.
    storage: root of the data; default: MOSAR_STORAGE, else ~/.mosar.
    samples: maximum number of samples that the card reads, evenly spread.
    """

    data: str = ""
    storage: str | None = None
    samples: int = 2000

    def __post_init__(self) -> None:
        if not self.data or "/" in self.data or self.data.startswith("."):
            raise ConfigError(f"data: got {self.data!r}, expected the name of a data set")
        if self.samples < 1:
            raise ConfigError(f"samples: got {self.samples}, expected at least 1")


def main(config: ShowShards) -> None:
    found = Manifest(storage.join(storage.root(config.storage), "data", config.data))
    for row in found.shards():
        print(f"{row.name}  {row.split:<10}  {row.samples:>6} samples  {row.bytes / 1e6:8.1f} MB  {row.sha256[:12]}")
    for line in contact_sheet.write(found):
        print(line)
    print(f"card: {data_card.write(found, config.samples)}")


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, ShowShards, "show_shards"))
