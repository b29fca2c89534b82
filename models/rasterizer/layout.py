"""Which triangles and vertices belong to which image of a batch."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """One mesh to an image, its vertices and faces numbered on through the batch.

    Attributes:
        triangles: of each image (F, 3), int64, counter-clockwise seen from outside; images may share one tensor.
        first_vertex: of each image: what is added to its indices.
        first_face: of each image.
    """

    triangles: tuple[Tensor, ...]
    first_vertex: tuple[int, ...]
    first_face: tuple[int, ...]

    def packed(self) -> Tensor:
        """All triangles (Q, 3) with their packed vertices; copies."""
        return torch.cat([t + first for t, first in zip(self.triangles, self.first_vertex, strict=True)])
