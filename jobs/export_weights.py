"""Export a finished run to one half-precision file, by default the one that the program ships.

python jobs/export_weights.py run=morphable-cpu
python jobs/export_weights.py run=segmentation-finer

Runs of the stages morphable and segmentation can be exported; no bundle is needed to use what is shipped.
"""

import sys
from dataclasses import dataclass

from mosar.errors import ConfigError
from mosar.jobs import hydra_main, stages
from mosar.platform import storage


@dataclass(frozen=True)
class Export:
    """Attributes:

    run: name of the run.
    output: file to write; by default the one that is shipped.
    storage: root of the runs; default: MOSAR_STORAGE, else ~/.mosar.
    """

    run: str
    output: str | None = None
    storage: str | None = None


def main(config: Export) -> None:
    from mosar.models.morphable import pretrained
    from mosar.models.morphable.network import Morphable
    from mosar.models.stages import morphable
    from mosar.models.stages.segmentation import released
    from mosar.models.stages.segmentation.network import Segmentation

    stage, module = stages.trained(storage.join(storage.root(config.storage), "runs", config.run))
    if isinstance(stage, morphable.Stage) and isinstance(module, Morphable):
        content, shipped = pretrained.to_file(module, stage.head), pretrained.DEFAULT_PATH
    elif isinstance(module, Segmentation):
        content, shipped = released.to_file(module), released.PATH
    else:
        raise ConfigError(f"run: {config.run} is of stage {stage.name!r}, expected morphable or segmentation")
    output = config.output or str(shipped)
    storage.write_bytes(output, content)
    print(f"{output}: {len(content) / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, Export, "export_weights"))
