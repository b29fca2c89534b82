"""Classes of the pixels of a photograph of a face, and which of them show the skin's texture.

``skin`` includes ears, neck, lids, nostrils and shaved stubble; ``mouth`` is its interior with teeth and tongue;
``eyes`` are eyeballs and lashes; ``facial_hair`` beard and moustache; ``glasses`` frames only: what shows through the
lenses keeps its class; ``cloth`` is below the neck, ``headwear`` on the head.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = ("background", "skin", "lips", "mouth", "eyes", "brows", "facial_hair", "scalp_hair", "glasses", "headwear",
           "hand", "cloth")  # fmt: skip
SKIN = ("skin", "lips", "brows", "facial_hair")
"""Classes whose colours belong into the skin's texture."""


def share(classes_bkhw: "Tensor", *names: str) -> "Tensor":
    """Probability (b, 1, h, w) that a pixel belongs to one of the named classes."""
    return classes_bkhw[:, [CLASSES.index(name) for name in names]].sum(dim=1, keepdim=True)
