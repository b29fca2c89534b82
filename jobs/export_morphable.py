"""Export a finished run of stage ``morphable`` to one half-precision file, by default the one that is shipped.

python jobs/export_morphable.py run=morphable-cpu
"""

import sys
from dataclasses import dataclass

from mosar.errors import ConfigError
from mosar.jobs import hydra_main, stages
from mosar.models.morphable import pretrained
from mosar.models.morphable.network import Morphable
from mosar.models.stages.morphable import Stage
from mosar.platform import storage


@dataclass(frozen=True)
class Export:
    """Attributes:

    run: name of the run.
    output: file to write.
    storage: root of the runs; default: MOSAR_STORAGE, else ~/.mosar.
    """

    run: str = "morphable-cpu"
    output: str = str(pretrained.DEFAULT_PATH)
    storage: str | None = None


def main(config: Export) -> None:
    stage, module = stages.trained(storage.join(storage.root(config.storage), "runs", config.run))
    if not isinstance(stage, Stage) or not isinstance(module, Morphable):
        raise ConfigError(f"run: {config.run} is of stage {stage.name!r}, expected 'morphable'")
    content = pretrained.to_file(module, stage.head)
    storage.write_bytes(config.output, content)
    print(f"{config.output}: {len(content) / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, Export, "export_morphable"))
