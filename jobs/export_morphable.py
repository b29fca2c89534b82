"""Put a finished run of stage ``morphable`` into one file in half precision, by default the one that is shipped.

python jobs/export_morphable.py run=morphable-cpu
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from mosar.errors import ConfigError
from mosar.jobs import entry, stages
from mosar.models.stages.morphable import Stage, released
from mosar.models.stages.morphable.network import Morphable
from mosar.platform import storage


@dataclass(frozen=True)
class Export:
    """Attributes:

    run: name of the run.
    output: the file.
    storage: root of the runs; else MOSAR_STORAGE, else ~/.mosar.
    """

    run: str = "morphable-cpu"
    output: str = str(released.DEFAULT_PATH)
    storage: str | None = None


def main(config: Export) -> None:
    stage, module = stages.trained(storage.join(storage.root(config.storage), "runs", config.run))
    if not isinstance(stage, Stage) or not isinstance(module, Morphable):
        raise ConfigError(f"run: {config.run} is of stage {stage.name!r}, expected 'morphable'")
    path = Path(config.output)
    released.write(module, stage.head, path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(entry.run(main, Export, "export_morphable"))
