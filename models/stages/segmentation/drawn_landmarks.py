"""The detector's outlines as pictures. Shapes: b batch, n outlines' corners, h w pixels."""

import torch
from torch import Tensor

from mosar.models import face_outlines

OUTLINES = (
    (face_outlines.OVAL,),
    (face_outlines.LEFT_BROW, face_outlines.RIGHT_BROW),
    (face_outlines.LEFT_EYE, face_outlines.RIGHT_EYE),
    (face_outlines.LIPS,),
    (face_outlines.MOUTH,),
)
"""Outlines of each channel."""


def draw(landmarks_bl2: Tensor, size: int) -> Tensor:
    """Filled outlines (b, 5, size, size), 0 or 1: face, brows, eyes, lips, mouth; ``landmarks``: pixels of the crop."""
    channels = []
    for outlines in OUTLINES:
        parts = [_filled(landmarks_bl2[:, list(outline)], size) for outline in outlines]
        channels.append(torch.stack(parts).any(dim=0))
    return torch.stack(channels, dim=1).to(landmarks_bl2.dtype)


def _filled(corner_bn2: Tensor, size: int) -> Tensor:
    """Pixels (b, size, size) inside polygons: a ray to the right crosses an odd number of edges."""
    start, end = corner_bn2, corner_bn2.roll(-1, dims=1)
    centre = torch.arange(size, device=corner_bn2.device, dtype=corner_bn2.dtype) + 0.5
    rise = end[..., 1] - start[..., 1]
    # Per edge and row: whether it spans the row, and where it crosses it.
    spans = (start[..., 1, None] > centre) != (end[..., 1, None] > centre)
    slope = (end[..., 0] - start[..., 0]) / torch.where(rise == 0, torch.ones_like(rise), rise)
    crossing = start[..., 0, None] + (centre - start[..., 1, None]) * slope[..., None]  # b n rows
    # An edge crosses the rays of all pixels to its left: count the edges by how many pixels these are.
    left = (crossing - 0.5).ceil().clamp(0, size).long().mT  # b rows n
    edges = torch.zeros(*left.shape[:2], size + 1, dtype=torch.int32, device=left.device)
    edges.scatter_add_(2, left, spans.mT.int())
    return (edges.sum(dim=2, keepdim=True) - edges.cumsum(dim=2))[..., :size] % 2 == 1
