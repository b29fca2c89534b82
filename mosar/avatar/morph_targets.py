"""A person's morph targets with their normals, as viewers of a GLB file need them.

Legend: e targets, n vertices of the rendered mesh (the head's, then the lashes').
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosar.avatar.avatar import Avatar
from mosar.avatar.render_mesh import render_mesh, render_vertices
from mosar.errors import ConfigError
from mosar.models.head.expression_model import express
from mosar.models.head.morph import vertex_normals

Floats = npt.NDArray[np.float32]
TargetSet = Literal["arkit", "talking"]
ALIASES = {
    "mouthOpen": ("jawOpen",),
    "mouthSmile": ("mouthSmileLeft", "mouthSmileRight"),
    "eyesClosed": ("eyeBlinkLeft", "eyeBlinkRight"),
    "eyesLookUp": ("eyeLookUpLeft", "eyeLookUpRight"),
    "eyesLookDown": ("eyeLookDownLeft", "eyeLookDownRight"),
}
"""Further targets of the set ``talking``, each some expressions together at full weight."""
_STILL_MM, _STILL_TURN = 0.01, 1e-3
"""Vertices that a target moves or turns less than this are left where they are (a turn is a difference of normals)."""


@dataclass(frozen=True)
class MorphTargets:
    """Names; offsets from the neutral mesh in mm and changes of its unit normals, at weight one; initial weights."""

    names: tuple[str, ...]
    offset_en3: Floats
    turn_en3: Floats
    weights: tuple[float, ...]


def morph_targets(avatar: Avatar, targets: TargetSet = "arkit") -> MorphTargets:
    """The head's expressions on the avatar's neutral mesh, and :data:`ALIASES` if ``targets`` is ``"talking"``.

    The initial weights are the avatar's, 0 for aliases.

    Raises:
        ConfigError: there is no such set.
    """
    if targets not in get_args(TargetSet):
        raise ConfigError(f"targets: got {targets!r}, expected one of {', '.join(get_args(TargetSet))}")
    head, neutral_1v3 = avatar.head, avatar.neutral_1v3.cpu()
    place = {name: index for index, name in enumerate(head.expression_names)}
    parts: dict[str, tuple[str, ...]] = {name: (name,) for name in head.expression_names}
    if targets == "talking":
        parts |= {alias: names for alias, names in ALIASES.items() if set(names) <= set(place)}
    weights_ee = torch.zeros(len(parts), len(place))
    for row, names in enumerate(parts.values()):
        weights_ee[row, [place[name] for name in names]] = 1.0
    rest_1n3 = render_vertices(head, neutral_1v3)
    moved_en3 = render_vertices(head, express(head, neutral_1v3.expand(len(parts), -1, -1), weights_ee))
    offset_en3, turn_en3 = moved_en3 - rest_1n3, _normals(avatar, moved_en3) - _normals(avatar, rest_1n3)
    still_en = (offset_en3.abs().amax(dim=2) < _STILL_MM) & (turn_en3.abs().amax(dim=2) < _STILL_TURN)
    offset_en3[still_en] = turn_en3[still_en] = 0.0
    return MorphTargets(
        tuple(parts),
        offset_en3.numpy(),
        turn_en3.numpy(),
        tuple(avatar.expression.get(name, 0.0) if name in place else 0.0 for name in parts),
    )


def missed_mm(avatar: Avatar) -> tuple[float, float]:
    """Mean and largest distance, over the face, of the avatar's mesh from its neutral mesh with the targets applied."""
    head, neutral_1v3 = avatar.head, avatar.neutral_1v3.cpu()
    weights = [avatar.expression.get(name, 0.0) for name in head.expression_names]
    every = torch.eye(len(weights))
    offset_ev3 = express(head, neutral_1v3.expand(len(weights), -1, -1), every) - neutral_1v3
    shown_v3 = neutral_1v3[0] + torch.tensordot(torch.tensor(weights), offset_ev3, dims=1)
    distance_v = (shown_v3 - avatar.vertices_1v3[0].cpu()).norm(dim=-1)
    if "face" in head.region_names:
        distance_v = distance_v[torch.tensor(head.region("face"))]
    return float(distance_v.mean()), float(distance_v.max())


def _normals(avatar: Avatar, vertices_bn3: Tensor) -> Tensor:
    return vertex_normals(vertices_bn3, torch.tensor(render_mesh(avatar.head).triangles_f3))
