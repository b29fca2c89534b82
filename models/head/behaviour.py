"""What is not linear in a face: expressions scale with it, the jaw turns about its hinge, lids slide over eyeballs.

Everything is read off the head's own arrays: a head without eyeballs, or without the expressions named here, just lacks
the behaviour.
"""

import dataclasses
import functools

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosar.models.head.head import Head

_CLEARANCE_MM = 0.4  # of lids over the eyeball
_LID_REACH = 2.0  # radii of the eyeball from its centre within which skin counts as lid
_JAW = "jawOpen"


@dataclasses.dataclass(frozen=True, eq=False)
class Eye:
    """Vertex numbers of an eyeball and of the skin that slides over it."""

    ball_k: Tensor
    lid_k: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Behaviour:
    """Constants of a head, see :func:`express`.

    Attributes:
        expressions_ev3: offsets at weight one on the template, mm.
        face_k: vertices whose spread is the size of a face.
        size: of the template's face, mm.
        eyes: for each eyeball.
        jaw: index of the expression that opens it, or -1.
        hinge_2: (y, z) of the jaw's hinge on the template, mm.
    """

    expressions_ev3: Tensor
    face_k: Tensor
    size: Tensor
    eyes: tuple[Eye, ...]
    jaw: int
    hinge_2: Tensor


def express(head: Head, neutral_bv3: Tensor, expression_be: Tensor) -> Tensor:
    """Vertices (B V 3, mm, head frame) of neutral people with expression weights (B E); differentiable in both.

    Offsets grow with the size of the face; opening the jaw follows arcs about its hinge instead of chords; eyeballs
    turn without change of shape; lids keep the distance from the eyeball that they have at rest, or 0.4 mm if that is
    less.
    """
    b = behaviour(head, neutral_bv3.device, neutral_bv3.dtype)
    size_b11 = (_size(neutral_bv3[:, b.face_k]) / b.size)[:, None, None]
    moved_bv3 = neutral_bv3 + size_b11 * torch.tensordot(expression_be, b.expressions_ev3, dims=1)
    if b.jaw >= 0:
        moved_bv3 = moved_bv3 + _arc(b, neutral_bv3, size_b11, expression_be[:, b.jaw])
    for eye in b.eyes:
        moved_bv3 = _turn_eye(eye, neutral_bv3, moved_bv3)
    return moved_bv3


@functools.lru_cache(maxsize=8)
def behaviour(head: Head, device: torch.device, dtype: torch.dtype) -> Behaviour:
    """The constants of a head, read off its arrays once."""
    names = head.expression_names
    face_v = head.region("face") if "face" in head.region_names else np.ones(len(head.template_v3), bool)
    jaw = names.index(_JAW) if _JAW in names else -1
    hinge = _hinge(head.template_v3, head.expressions_ev3[jaw]) if jaw >= 0 else None
    face_k = torch.tensor(np.nonzero(face_v)[0], device=device)
    return Behaviour(
        expressions_ev3=torch.tensor(head.expressions_ev3, device=device, dtype=dtype),
        face_k=face_k,
        size=_size(torch.tensor(head.template_v3, device=device, dtype=dtype)[None, face_k])[0],
        eyes=tuple(
            Eye(torch.tensor(ball, device=device), torch.tensor(lid, device=device)) for ball, lid in _eyes(head)
        ),
        jaw=jaw if hinge is not None else -1,
        hinge_2=torch.tensor(hinge if hinge is not None else [0.0, 0.0], device=device, dtype=dtype),
    )


def _size(points_bk3: Tensor) -> Tensor:
    """Root mean square distance (B) from the mean."""
    return (points_bk3 - points_bk3.mean(1, keepdim=True)).square().sum(-1).mean(1).sqrt()


def _arc(b: Behaviour, neutral_bv3: Tensor, size_b11: Tensor, weight_b: Tensor) -> Tensor:
    """What a circular path about the hinge adds to the straight one: the sagitta, a parabola of the weight.

    A chord of length c at distance r from the hinge has a sagitta of c^2 / 8 r in the middle.
    """
    chord_bv2 = (size_b11 * b.expressions_ev3[b.jaw])[..., 1:]
    outward_bv2 = neutral_bv3[..., 1:] + chord_bv2 / 2 - b.hinge_2
    radius_bv1 = outward_bv2.norm(dim=-1, keepdim=True).clamp(min=10.0)
    sagitta_bv1 = chord_bv2.square().sum(-1, keepdim=True) / (8 * radius_bv1)
    share_b11 = (4 * weight_b * (1 - weight_b))[:, None, None]
    return torch.nn.functional.pad(share_b11 * sagitta_bv1 * outward_bv2 / radius_bv1, (1, 0))


def _turn_eye(eye: Eye, neutral_bv3: Tensor, moved_bv3: Tensor) -> Tensor:
    ball_bk3, rest_bk3 = moved_bv3[:, eye.ball_k], neutral_bv3[:, eye.ball_k]
    rest_centre_b13, centre_b13 = rest_bk3.mean(1, keepdim=True), ball_bk3.mean(1, keepdim=True)
    rest_bk1 = (rest_bk3 - rest_centre_b13).norm(dim=-1, keepdim=True)
    ball_bk3 = centre_b13 + torch.nn.functional.normalize(ball_bk3 - centre_b13, dim=-1) * rest_bk1
    reach_b11 = rest_bk1.mean(1, keepdim=True) + _CLEARANCE_MM
    lid_bk3 = moved_bv3[:, eye.lid_k] - centre_b13
    lid_rest_bk1 = (neutral_bv3[:, eye.lid_k] - rest_centre_b13).norm(dim=-1, keepdim=True)
    distance_bk1 = lid_bk3.norm(dim=-1, keepdim=True).clamp(min=1e-3)
    pushed_bk3 = lid_bk3 * (torch.minimum(lid_rest_bk1, reach_b11) / distance_bk1).clamp(min=1.0)
    return moved_bv3.index_copy(1, eye.ball_k, ball_bk3).index_copy(1, eye.lid_k, centre_b13 + pushed_bk3)


def _hinge(template_v3: npt.NDArray[np.float32], offset_v3: npt.NDArray[np.float32]) -> npt.NDArray[np.float64] | None:
    """(y, z) about which the part that moves most turns: offset = A (p - hinge) by least squares, A a small turn."""
    length_v = np.linalg.norm(offset_v3, axis=1)
    most = length_v > 0.7 * length_v.max()
    middle_n2 = (template_v3 + offset_v3 / 2)[most, 1:].astype(np.float64)
    # About x, a turn by 2 atan(s / 2) moves a point with middle m and hinge h by s (h_z - m_z, m_y - h_y) in (y, z).
    ones, zeros = np.ones(len(middle_n2)), np.zeros(len(middle_n2))
    rows = np.concatenate([np.stack([-middle_n2[:, 1], ones, zeros], 1), np.stack([middle_n2[:, 0], zeros, -ones], 1)])
    turn, along_z, along_y = np.linalg.lstsq(rows, offset_v3[most, 1:].T.ravel(), rcond=None)[0]
    if abs(turn) < 1e-3:
        return None
    hinge = np.array([along_y, along_z]) / turn
    return hinge if np.abs(hinge).max() < 300 else None


def _eyes(head: Head) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Eyeballs (vertices of the material, left and right of the midline) with their lids."""
    if "eyes" not in head.material_names:
        return []
    balls_k = np.unique(head.triangles_f3[head.material_f == head.material_names.index("eyes")])
    skin_k = np.unique(head.triangles_f3[head.material_f == 0])
    eyes = []
    for side in (1, -1):
        ball_k = balls_k[side * head.template_v3[balls_k, 0] > 0]
        if not len(ball_k):
            continue
        centre = head.template_v3[ball_k].mean(0)
        radius = np.linalg.norm(head.template_v3[ball_k] - centre, axis=1).mean()
        near = np.linalg.norm(head.template_v3[skin_k] - centre, axis=1) < _LID_REACH * radius
        blinks = [i for i, name in enumerate(head.expression_names) if name.startswith("eye")]
        slides = (np.abs(head.expressions_ev3[blinks][:, skin_k]) > 0).any((0, 2)) if blinks else np.zeros_like(near)
        eyes.append((ball_k, skin_k[near & slides]))
    return eyes
