"""Non-linear expressions: they scale with the face, the jaw turns about its hinge, lids close and slide over eyeballs.

All constants come from the head's own arrays. A head without eyeballs, or without the expressions named here, lacks the
corresponding behaviour.
"""

import dataclasses
import functools

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from mosar.models.head.head import Head
from mosar.models.precision import full_precision

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_CLEARANCE_MM = 0.4  # distance of lids from the eyeball
_LID_REACH = 2.0  # skin within this many eyeball radii of the centre counts as lid
_JAW = "jawOpen"
_ANCHORS = 64  # points of the face at which its size is measured
_ANCHOR_MM = 16.0  # standard deviation of their Gaussian neighbourhoods
_RIMS_MM = (-4.0, 0.0, 4.0)  # where the height of an eye is measured, sideways from the eyeball's centre
_RIM_WIDTH_MM = 2.5
_LOOKS = {"Up": (-1.0, 0.0, 25.0), "Down": (1.0, 0.0, 30.0), "In": (0.0, -1.0, 30.0), "Out": (0.0, 1.0, 30.0)}
"""Direction of a look -> axis (x, y) about which the left eyeball turns at weight one, and degrees."""
_BLINKS = {1: "eyeBlinkLeft", -1: "eyeBlinkRight"}
_SHUT_MM = 0.3  # by which a full blink moves the upper rim beyond the lower one: rims are thin
_BLINK_LIMITS = (0.6, 2.0)
_HINGE_MM = 20.0  # turning is damped nearer to the hinge than this: the angle is unreliable there


@dataclasses.dataclass(frozen=True, eq=False)
class Eye:
    """An eyeball and its lids.

    Attributes:
        ball_k: vertices of the eyeball.
        lid_k: vertices of the skin that slides over it.
        blink: index of the expression that closes the lids, or -1.
        rim_2p: vertices on the rims of the upper and the lower lid, above one another.
    """

    ball_k: Tensor
    lid_k: Tensor
    blink: int
    rim_2p: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class ExpressionModel:
    """Constants of a head for :func:`express`.

    Attributes:
        expressions_ev3: offsets at weight one on the template, mm; those of the jaw exclude its turn.
        face_k: vertices of the face.
        near_ak: weights of the face's vertices around each anchor, rows sum to one.
        size_a: spread of the template around each anchor, mm.
        blend_va: weights of the anchors at every vertex, rows sum to one.
        eyes: one entry for each eyeball.
        jaw: index of the expression that opens the jaw, or -1.
        hinge_2: (y, z) of the jaw's hinge on the template, mm.
        turn_v: angle by which an open jaw turns every vertex about the hinge, radians from y to z.
    """

    expressions_ev3: Tensor
    face_k: Tensor
    near_ak: Tensor
    size_a: Tensor
    blend_va: Tensor
    eyes: tuple[Eye, ...]
    jaw: int
    hinge_2: Tensor
    turn_v: Tensor


@full_precision
def express(head: Head, neutral_bv3: Tensor, expression_be: Tensor) -> Tensor:
    """Vertices (B V 3, mm, head frame) of neutral people with expression weights (B E); differentiable in both.

    Offsets scale with the local size of the face; a full blink closes the lids, however wide the eye. The jaw turns
    about its hinge together with all that is attached to it, whatever the length of the person's jaw. Eyeballs turn
    without change of shape, also where the head's own ``eyeLook`` expressions move the lids alone. Lids keep at least
    0.4 mm from the eyeball, or their distance at rest if that is less.
    """
    b = expression_model(head, neutral_bv3.device, neutral_bv3.dtype)
    size_bv1 = (_sizes(neutral_bv3[:, b.face_k], b.near_ak) / b.size_a) @ b.blend_va.T
    size_bv1 = size_bv1[..., None]
    gain_be = torch.ones_like(expression_be)
    for eye in b.eyes:
        if eye.blink >= 0:
            blink_bv3 = size_bv1 * b.expressions_ev3[eye.blink]
            gain_b1 = _closing(eye, neutral_bv3, blink_bv3)[:, None]
            gain_be = gain_be.index_copy(1, torch.tensor([eye.blink], device=gain_b1.device), gain_b1)
    moved_bv3 = neutral_bv3 + size_bv1 * torch.tensordot(gain_be * expression_be, b.expressions_ev3, dims=1)
    if b.jaw >= 0:
        moved_bv3 = moved_bv3 + _turn_jaw(b, neutral_bv3, size_bv1.mean(1), expression_be[:, b.jaw])
    for eye in b.eyes:
        moved_bv3 = _turn_eye(eye, neutral_bv3, moved_bv3)
    return moved_bv3


@functools.lru_cache(maxsize=8)
def expression_model(head: Head, device: torch.device, dtype: torch.dtype) -> ExpressionModel:
    """The constants of a head, computed from its arrays and cached."""
    names = head.expression_names
    template_v3 = head.template_v3.astype(np.float64)
    face_v = head.region("face") if "face" in head.region_names else np.ones(len(template_v3), bool)
    face_k = np.flatnonzero(face_v)
    near_ak, blend_va = _anchors(template_v3, face_k)
    jaw = names.index(_JAW) if _JAW in names else -1
    hinge = _hinge(head.template_v3, head.expressions_ev3[jaw]) if jaw >= 0 else None
    expressions_ev3, turn_v = head.expressions_ev3.astype(np.float64), np.zeros(len(template_v3))
    if hinge is not None:
        turn_v = _turns(template_v3, expressions_ev3[jaw], hinge)
        expressions_ev3[jaw, :, 1:] -= _turned(torch.tensor(template_v3[:, 1:] - hinge), torch.tensor(turn_v)).numpy()

    for ball_k, *_ in _eyes(head):
        _look(names, expressions_ev3, template_v3, ball_k)

    def constant(values: npt.ArrayLike) -> Tensor:
        return torch.tensor(np.asarray(values), device=device, dtype=dtype)

    def indices(values: Index) -> Tensor:
        return torch.tensor(values, device=device)

    face_1k3 = torch.tensor(template_v3[None, face_k])
    return ExpressionModel(
        expressions_ev3=constant(expressions_ev3),
        face_k=torch.tensor(face_k, device=device),
        near_ak=constant(near_ak),
        size_a=_sizes(face_1k3, torch.tensor(near_ak))[0].to(device, dtype),
        blend_va=constant(blend_va),
        eyes=tuple(Eye(indices(ball), indices(lid), blink, indices(rim)) for ball, lid, blink, rim in _eyes(head)),
        jaw=jaw if hinge is not None else -1,
        hinge_2=constant(hinge if hinge is not None else [0.0, 0.0]),
        turn_v=constant(turn_v),
    )


def _look(names: tuple[str, ...], expressions_ev3: Array, template_v3: Array, ball_k: Index) -> None:
    """Turn the eyeball in looks that leave it at rest, as in scans' models, whose eyeballs are no part of the skin."""
    centre = template_v3[ball_k].mean(0)
    arm_k3, left = template_v3[ball_k] - centre, centre[0] > 0
    for way, (x, y, degrees) in _LOOKS.items():
        name = f"eyeLook{way}{'Left' if left else 'Right'}"
        if name in names and not expressions_ev3[names.index(name), ball_k].any():
            turn = Rotation.from_rotvec(np.radians(degrees) * np.array([x, y if left else -y, 0.0]))
            expressions_ev3[names.index(name), ball_k] = turn.apply(arm_k3) - arm_k3


def _anchors(template_v3: Array, face_k: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Weights of the face's vertices around each anchor (A K), and of the anchors at every vertex (V A)."""
    face_k3 = template_v3[face_k]
    chosen, distance_k = [0], np.full(len(face_k), np.inf)
    while len(chosen) < min(_ANCHORS, len(face_k)):
        distance_k = np.minimum(distance_k, ((face_k3 - face_k3[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(distance_k.argmax()))
    square_va = ((template_v3[:, None] - face_k3[chosen]) ** 2).sum(-1)
    # Distances are relative to the nearest anchor, so that weights far from the face do not all underflow to 0.
    weight_va = np.exp(-(square_va - square_va.min(1, keepdims=True)) / (2 * _ANCHOR_MM**2))
    near_ak = np.exp(-square_va[face_k].T / (2 * _ANCHOR_MM**2))
    return near_ak / near_ak.sum(1, keepdims=True), weight_va / weight_va.sum(1, keepdims=True)


def _sizes(points_bk3: Tensor, near_ak: Tensor) -> Tensor:
    """Spread (B A) of points around each anchor: the square root of their weighted variance."""
    mean_ba3 = near_ak @ points_bk3
    square_ba = points_bk3.square().sum(-1) @ near_ak.T
    return (square_ba - mean_ba3.square().sum(-1)).clamp(min=1e-6).sqrt()


def _turn_jaw(b: ExpressionModel, neutral_bv3: Tensor, size_b1: Tensor, weight_b: Tensor) -> Tensor:
    """Offsets (B V 3) of turning about the hinge, whose position scales with the face."""
    arm_bv2 = neutral_bv3[..., 1:] - size_b1[:, None] * b.hinge_2
    return torch.nn.functional.pad(_turned(arm_bv2, weight_b[:, None] * b.turn_v), (1, 0))


def _turned(arm_v2: Tensor, angle_v: Tensor) -> Tensor:
    """Change of the arms (... V 2), in (y, z), under a turn."""
    y, z = arm_v2.unbind(-1)
    cos, sin = angle_v.cos() - 1, angle_v.sin()
    return torch.stack([cos * y - sin * z, sin * y + cos * z], dim=-1)


def _turns(template_v3: Array, offset_v3: Array, hinge: npt.NDArray[np.float64]) -> Array:
    """Angle (V) about the hinge, from y to z, between each vertex and its position after the offset."""
    start_v2 = template_v3[:, 1:] - hinge
    end_v2 = start_v2 + offset_v3[:, 1:]
    angle_v = np.arctan2(start_v2[:, 0] * end_v2[:, 1] - start_v2[:, 1] * end_v2[:, 0], (start_v2 * end_v2).sum(1))
    return np.asarray(angle_v * np.clip(np.linalg.norm(start_v2, axis=1) / _HINGE_MM, 0, 1) ** 2)


def _closing(eye: Eye, neutral_bv3: Tensor, blink_bv3: Tensor) -> Tensor:
    """Factor (B) on the blink with which its full strength just closes the lids."""
    upper_bp3, lower_bp3 = neutral_bv3[:, eye.rim_2p].unbind(1)
    gap_bp1 = (upper_bp3 - lower_bp3).norm(dim=-1, keepdim=True).clamp(min=1e-3)
    upper_move_bp3, lower_move_bp3 = blink_bv3[:, eye.rim_2p].unbind(1)
    closed_bp = ((lower_move_bp3 - upper_move_bp3) * (upper_bp3 - lower_bp3) / gap_bp1).sum(-1).clamp(min=1e-3)
    return ((gap_bp1[..., 0] + _SHUT_MM) / closed_bp).mean(1).clamp(*_BLINK_LIMITS)


def _rims(head: Head, side: int, ball_k: Index, lid_k: Index) -> tuple[int, Index]:
    """Index of an eye's blink, or -1 if the head has none; vertices (2 P) on the rims of the upper and the lower lid.

    The rims bound the largest gap between the heights of visible lid vertices in front of the eyeball.
    """
    if _BLINKS[side] not in head.expression_names:
        return -1, np.zeros((2, 0), np.int64)
    ball_k3 = head.template_v3[ball_k].astype(np.float64)
    centre = ball_k3.mean(0)
    radius = np.linalg.norm(ball_k3 - centre, axis=1).mean()
    seen_v = head.region("skin") if "skin" in head.region_names else np.ones(len(head.template_v3), bool)
    seen_k = lid_k[seen_v[lid_k]]
    arm_k3 = head.template_v3[seen_k] - centre
    before = (arm_k3[:, 2] > 0.3 * radius) & (np.abs(arm_k3[:, 1]) < radius)
    pairs = []
    for aside in _RIMS_MM:
        near = np.flatnonzero(before & (np.abs(arm_k3[:, 0] - aside) < _RIM_WIDTH_MM))
        if len(near) >= 2:
            near = near[np.argsort(arm_k3[near, 1])]
            gap = int(np.diff(arm_k3[near, 1]).argmax())
            pairs.append((seen_k[near[gap + 1]], seen_k[near[gap]]))
    found = len(pairs) == len(_RIMS_MM)
    blink = head.expression_names.index(_BLINKS[side]) if found else -1
    return blink, np.array(pairs, np.int64).reshape(-1, 2).T


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
    """Least-squares hinge (y, z) of ``offset = A (p - hinge)``, a turn of the vertices that move most; None without."""
    length_v = np.linalg.norm(offset_v3, axis=1)
    most = length_v > 0.7 * length_v.max()
    middle_n2 = (template_v3 + offset_v3 / 2)[most, 1:].astype(np.float64)
    # In (y, z) a turn by 2 atan(s / 2) about hinge h moves a point with midpoint m by s (h_z - m_z, m_y - h_y).
    ones, zeros = np.ones(len(middle_n2)), np.zeros(len(middle_n2))
    rows = np.concatenate([np.stack([-middle_n2[:, 1], ones, zeros], 1), np.stack([middle_n2[:, 0], zeros, -ones], 1)])
    turn, along_z, along_y = np.linalg.lstsq(rows, offset_v3[most, 1:].T.ravel(), rcond=None)[0]
    if abs(turn) < 1e-3:
        return None
    hinge = np.array([along_y, along_z]) / turn
    return hinge if np.abs(hinge).max() < 300 else None


def _eyes(head: Head) -> list[tuple[Index, Index, int, Index]]:
    """Vertices of each eyeball (material ``eyes``, left and right of the midline), of its lids, blink and rims."""
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
        lid_k = skin_k[near & slides]
        eyes.append((ball_k, lid_k, *_rims(head, side, ball_k, lid_k)))
    return eyes
