"""Which triangles and vertices belong to which image of a batch."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """One mesh per image; vertices and faces are numbered consecutively through the batch (packed).

    Attributes:
        triangles: (F, 3) of each image, int64, counter-clockwise seen from outside; images may share one tensor.
        first_vertex: packed index of each image's first vertex.
        first_face: packed index of each image's first face.
    """

    triangles: tuple[Tensor, ...]
    first_vertex: tuple[int, ...]
    first_face: tuple[int, ...]

    def packed(self) -> Tensor:
        """A copy of all triangles (Q, 3), with packed vertex indices."""
        return torch.cat([t + first for t, first in zip(self.triangles, self.first_vertex, strict=True)])
