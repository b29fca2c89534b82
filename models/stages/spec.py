"""What a stage requests from a stream of samples."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StreamSpec:
    """A share of every batch, and how its samples are decoded.

    Attributes:
        proportion: share of the batch, in (0, 1]; the shares of a stage's streams add up to 1.
        fields: names of the decoded arrays (``docs/architecture.md``, Samples).
        map_size: rows and columns of UV maps, texels.
        crop_size: rows and columns of face crops, pixels.
        augment: photometric augmentation of ``image`` while training.
    """

    proportion: float
    fields: tuple[str, ...]
    map_size: int = 256
    crop_size: int = 128
    augment: bool = False
