"""Texels that tell a person's colour: nothing shades them, and the photograph or its mirror image shows them."""

import torch
from torch import Tensor

_PLAIN, _KNOWN = 0.85, 0.5  # occlusion and weight, at least
_LEAST = 50  # texels


def open_skin(ao_11nn: Tensor, known_11nn: Tensor) -> Tensor | None:
    """The texels (n, n), bool; None where they are fewer than 50, so that nothing tells the person's colour.

    Args:
        ao_11nn: occlusion by the person's geometry, 1 is open.
        known_11nn: how well the photograph, or its mirror image, shows a texel.
    """
    found = ((ao_11nn > _PLAIN) & (known_11nn > _KNOWN))[0, 0]
    return found if int(torch.count_nonzero(found)) >= _LEAST else None
