"""Protocols that a training stage implements; the stages in ``models/stages/<name>/`` match them structurally."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Batch = Mapping[str, Mapping[str, "Tensor"]]
"""Stream name -> field -> tensor with a leading batch axis."""


class StreamSpec(Protocol):
    """What a stage reads from one stream (read-only attributes)."""

    @property
    def proportion(self) -> float:
        """Share of the batch, in (0, 1]; the shares of a stage's streams add up to 1."""

    @property
    def fields(self) -> tuple[str, ...]: ...

    @property
    def map_size(self) -> int: ...

    @property
    def crop_size(self) -> int: ...

    @property
    def augment(self) -> bool: ...


class Stage(Protocol):
    """One training stage. It is independent of workers, checkpoints and files."""

    @property
    def name(self) -> str: ...

    @property
    def streams(self) -> Mapping[str, StreamSpec]: ...

    @property
    def requires(self) -> tuple[str, ...]:
        """Stages whose trained modules ``build`` receives."""

    def build(self, parents: Mapping[str, "nn.Module"]) -> "nn.Module":
        """The module, freshly initialised from torch's global generator, which the platform seeds."""

    def fit_statistics(self, module: "nn.Module", batches: Iterable[Batch]) -> None:
        """Put statistics of the data (means, PCA, standardisation) into the module's buffers."""

    def losses(self, module: "nn.Module", batch: Batch, generator: "torch.Generator") -> dict[str, "Tensor"]:
        """Named, weighted scalars whose sum is minimised. Each is a mean over the batch: its slices are averaged."""

    def metrics(self, module: "nn.Module", batch: Batch, generator: "torch.Generator") -> dict[str, "Tensor"]:
        """Named scalars on held-out data; ``loss`` is the held-out objective, with no adversarial part."""

    def baseline(self, module: "nn.Module", batch: Batch, generator: "torch.Generator") -> "Tensor":
        """``loss`` of the best prediction that ignores the input."""

    def preview(self, module: "nn.Module", batch: Batch, generator: "torch.Generator") -> "Tensor":
        """A picture, 3 H W in [0, 1], display-encoded (sRGB)."""
