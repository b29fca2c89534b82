"""Sends a run's metrics to an MLflow server if ``MLFLOW_TRACKING_URI`` is set in the driver's environment.

A line is sent once a checkpoint holds its step, so no line is sent twice when a run resumes from that checkpoint. A tag
of the MLflow run records the last step sent. MLflow reads credentials from its own environment variables.
"""

import importlib.util
import os
import sys
from collections.abc import Mapping
from typing import Any

from mosar.errors import ConfigError
from mosar.platform import storage
from mosar.platform.monitoring.redact import redact
from mosar.platform.monitoring.tensorboard import values
from mosar.platform.runs import checkpoint, run
from mosar.platform.storage import digest

URI, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
_NOTE, _TOLD = "mlflow.json", "mosar.step"
_ENOUGH, _PARAMETERS = 500, 100
"""Values and parameters per request; MLflow accepts at most 1,000 values and 100 parameters."""


def wanted() -> bool:
    """Whether a server is named. Raises ConfigError if one is named but MLflow is not installed."""
    if not os.environ.get(URI):
        return False
    if importlib.util.find_spec("mlflow") is None:
        raise ConfigError(f"{URI} is set, but MLflow is not installed; pip install mlflow-skinny, or unset it")
    return True


class Tracker:
    """Copies the run at ``location`` to an MLflow run, which is created when there are lines to send.

    If the server does not answer, the tracker prints one warning and sends the missing lines at a later update.
    """

    def __init__(self, location: str) -> None:
        self._location, self._warned = location, False

    def update(self) -> None:
        try:
            self._update()
            self._warned = False
        except Exception as error:
            if not self._warned:
                said = redact(f"{self._location}: cannot send metrics to MLflow ({error})")
                print(f"\nwarning: {said}", file=sys.stderr, flush=True)
            self._warned = True

    def _update(self) -> None:
        from mlflow.entities import Metric, RunTag  # type: ignore[import-not-found, unused-ignore]
        from mlflow.tracking import MlflowClient  # type: ignore[import-not-found, unused-ignore]

        finished = run.summary(self._location) is not None
        safe = max(checkpoint.steps(self._location), default=-1)
        lines = [line for line in run.metrics(self._location) if line["step"] <= safe]
        if not lines:
            return
        client = MlflowClient()
        number = self._number(client)
        there = client.get_run(number)
        told = int(there.data.tags.get(_TOLD, -1))
        batch: list[Metric] = []
        for line, following in zip(lines, [*lines[1:], None], strict=True):
            if line["step"] > told:
                at = int(1000 * line.get("time", 0))
                batch += [Metric(name, value, at, line["step"]) for name, value in values(line).items()]
            # A step's lines stay in one batch: the tag records only the last step sent.
            if batch and (following is None or (len(batch) >= _ENOUGH and following["step"] != line["step"])):
                client.log_batch(number, metrics=batch, tags=[RunTag(_TOLD, str(line["step"]))])
                batch = []
        if finished and there.info.status != "FINISHED":
            client.set_terminated(number, "FINISHED")

    def _number(self, client: Any) -> str:
        """ID of the MLflow run, stored per server in the run's folder; a new server gets a new MLflow run."""
        from mlflow.entities import Param  # type: ignore[import-not-found, unused-ignore]

        note, server = storage.join(self._location, _NOTE), digest.of_bytes(redact(os.environ[URI]).encode())[:12]
        known: dict[str, str] = storage.read_json(note) if storage.exists(note) else {}
        if server not in known:
            name = os.environ.get(EXPERIMENT, "mosar")
            experiment = client.get_experiment_by_name(name)
            where = experiment.experiment_id if experiment else client.create_experiment(name)
            made = client.create_run(where, run_name=self._location.rsplit("/", 1)[-1])
            known[server] = made.info.run_id
            storage.write_json(note, known)
            settings = [Param(key, value) for key, value in _flat(run.fingerprint(self._location))]
            for first in range(0, len(settings), _PARAMETERS):
                client.log_batch(known[server], params=settings[first : first + _PARAMETERS])
        return known[server]


def _flat(value: Any, where: str = "") -> list[tuple[str, str]]:
    """(dotted key, text) of every leaf of nested mappings."""
    if not isinstance(value, Mapping):
        return [(where, str(value))]
    return [pair for key in value for pair in _flat(value[key], f"{where}.{key}".lstrip("."))]
