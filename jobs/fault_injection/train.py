"""The driver that a drill starts and kills: ``python -m mosar.jobs.fault_injection.train SETTINGS`` (JSON)."""

import functools
import json
import sys

from mosar.config import parse
from mosar.errors import InputError, RunError, StoppedError
from mosar.jobs import hydra_main
from mosar.jobs.fault_injection import toy
from mosar.platform import cluster
from mosar.platform.training import graceful_stop, trainer
from mosar.platform.training.train_config import TrainConfig


def main(settings: dict[str, object]) -> int:
    """Train the toy stage; the exit codes are those of every job."""
    run, data = str(settings["run"]), settings["data"]
    assert isinstance(data, dict)
    stage = toy.Stage(pause_s=float(str(settings["pause_s"])), pids=f"{run}-pids")
    try:
        config = parse(TrainConfig, settings["train"], "train")  # type: ignore[arg-type]
        spec = trainer.prepare(run, stage, functools.partial(toy.build, stage), data, toy.decoder, config, {})
        with cluster.connect(), graceful_stop.on_signals() as asked:
            trainer.fit(spec, asked)
    except (InputError, RunError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        if isinstance(error, StoppedError):
            return hydra_main.INTERRUPTED
        return hydra_main.BAD_INPUT if isinstance(error, InputError) else hydra_main.FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
