"""The trained segmentation that tells the skin of photographs: the shipped one, or that of a finished run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mosar.errors import ConfigError
from mosar.jobs import stages
from mosar.platform import storage
from mosar.platform.runs import run
from mosar.platform.storage import digest

if TYPE_CHECKING:
    from mosar.models.stages.segmentation.network import Segmentation

RELEASED = "released"
NONE = "none"


@dataclass(frozen=True)
class TrainedSegmentation:
    """Where weights are: ``run``, the location of a run, or None for the shipped ones; and their digest."""

    run: str | None
    sha256: str

    def load(self) -> "Segmentation":
        """The network, in evaluation mode."""
        from mosar.models.stages.segmentation import released
        from mosar.models.stages.segmentation.network import Segmentation

        if self.run is None:
            return released.load()
        module = stages.trained(self.run)[1]
        assert isinstance(module, Segmentation), f"{self.run} is of stage segmentation"
        return module.requires_grad_(False)


def choose(name: str, root: str) -> TrainedSegmentation | None:
    """The segmentation of that name; None for ``none``.

    Args:
        name: ``released``, ``none``, or the name of a finished run of stage ``segmentation``.
        root: storage root of the runs.

    Raises:
        ConfigError: there is no such finished run of that stage.
    """
    from mosar.models.stages.segmentation import released

    if name == NONE:
        return None
    if name == RELEASED:
        return TrainedSegmentation(None, digest.of_file(str(released.PATH)))
    location = storage.join(root, "runs", name)
    summary = run.summary(location)
    if summary is None:
        raise ConfigError(
            f"segmentation: {location} is no finished run; expected {RELEASED}, {NONE}, or the name of a finished run"
        )
    stage = run.fingerprint(location)["stage"]
    if stage != "segmentation":
        raise ConfigError(f"segmentation: {location} is a run of stage {stage!r}, expected segmentation")
    return TrainedSegmentation(location, summary["weights_sha256"])
