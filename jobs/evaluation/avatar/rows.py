"""The rows of every table. Each is an avatar, so that the same code measures all of them.

``ours``: the bundle. ``no_network``: the same without the networks that correct its maps; of captures with truth alone.
``average``: the average head in our pose, with our expression and the photograph's mean colour.
``landmark_fit``: :mod:`landmark_fit`, with the same colour. ``pasted``: our head with the photograph itself as albedo
under white light, so that its picture is the photograph. ``another``: another person's avatar in our pose, with our
expression and light. All but the first must lose where it matters.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosar.avatar import Avatar
from mosar.datasets.skin_mask import skin_mask
from mosar.jobs.evaluation.avatar import shape
from mosar.jobs.evaluation.avatar.landmark_fit import fit_landmarks
from mosar.jobs.evaluation.avatar.prior import Prior
from mosar.models.camera import position
from mosar.models.colour import to_linear
from mosar.models.reconstruct.estimate import Maps
from mosar.models.texture_space import pull_push
from mosar.models.uv import chart, surface, unwrap
from mosar.models.vectors import unit

ROWS = ("ours", "no_network", "average", "landmark_fit", "pasted", "another")
OURS, NO_NETWORK, AVERAGE, LANDMARK_FIT, PASTED, ANOTHER = ROWS

_UNLIT = (AVERAGE, LANDMARK_FIT, PASTED)
_PASTED_SIZE = 512  # texels: finer than any portrait that the tables use
_Y00 = 0.28209479177387814


def build_rows(
    ours: Avatar, points_n2: NDArray[np.floating], prior: Prior, another: Avatar | None
) -> dict[str, Avatar]:
    """All rows for one photograph; ``another`` is left out where there is no other person.

    Args:
        ours: with its photograph.
        points_n2: the detector's points in the photograph, pixels.
        another: the avatar of another person, by the same bundle.
    """
    photograph = photograph_of(ours)
    plain = flat_maps(mean_colour(photograph, points_n2), ours)
    fitted = fit_landmarks(prior, points_n2, *photograph.shape[:2])
    found = {
        OURS: ours,
        AVERAGE: replace(_posed_like(ours, prior.neutral_1v3), maps=plain, light_1lc=white(ours.light_1lc)),
        LANDMARK_FIT: replace(
            ours,
            vertices_1v3=fitted.mesh_1v3,
            neutral_1v3=fitted.neutral_1v3,
            camera=fitted.camera,
            maps=plain,
            light_1lc=white(ours.light_1lc),
        ),
        PASTED: replace(ours, maps=pasted_maps(ours), light_1lc=white(ours.light_1lc)),
    }
    if another is not None:
        found[ANOTHER] = replace(
            _posed_like(ours, another.neutral_1v3),
            maps=another.maps,
            eyes_hw3=another.eyes_hw3,
            mouth_hw3=another.mouth_hw3,
        )
    return found


def as_pictured(row: str, avatar: Avatar) -> Avatar:
    """The row as it is drawn into the photograph: the albedo itself for the rows under white light.

    White light from everywhere still reflects at grazing angles, as a bright rim; normals towards the camera have none.
    """
    if row not in _UNLIT:
        return avatar
    points = surface(chart(avatar.head, avatar.maps.diffuse.shape[-1]), avatar.head, avatar.vertices_1v3)
    view = unit(position(avatar.camera)[:, :, None, None] - points.position_b3hw)
    axes = (points.tangent_b3hw, points.bitangent_b3hw, points.normal_b3hw)
    normal = torch.cat([(view * axis).sum(dim=1, keepdim=True) for axis in axes], dim=1)
    return replace(avatar, maps=replace(avatar.maps, normal=normal))


def photograph_of(avatar: Avatar) -> NDArray[np.uint8]:
    assert avatar.photograph_hw3 is not None, "the avatar was opened from files, which hold no photograph"
    return avatar.photograph_hw3


def white(like_1lc: Tensor) -> Tensor:
    """White light of radiance one from everywhere: a picture shows the albedo."""
    light = torch.zeros_like(like_1lc)
    light[:, 0] = 1.0 / _Y00
    return light


def mean_colour(photograph_hw3: NDArray[np.uint8], points_n2: NDArray[np.floating]) -> Tensor:
    """Mean linear colour (3) of the face's hull less eyes and mouth."""
    pixels = photograph_hw3[skin_mask(points_n2, *photograph_hw3.shape[:2]) > 0]
    pixels = pixels if len(pixels) else photograph_hw3.reshape(-1, 3)
    return to_linear(torch.from_numpy(pixels).float() / 255.0).mean(dim=0)


def flat_maps(colour_3: Tensor, like: Avatar) -> Maps:
    """Maps of one albedo without relief, highlights or occlusion, of the size of an avatar's."""
    one = torch.ones_like(like.maps.ao)
    normal = torch.zeros_like(like.maps.normal)
    normal[:, 2] = 1.0
    diffuse = colour_3[None, :, None, None].expand_as(like.maps.diffuse).contiguous()
    return Maps(diffuse, 0 * one, one, 0 * one, normal, 0 * one)


def pasted_maps(ours: Avatar) -> Maps:
    """The photograph on the chart, holes filled from the mirrored side and the surroundings, as albedo."""
    image = to_linear(torch.from_numpy(photograph_of(ours)).permute(2, 0, 1)[None].float() / 255.0)
    texture, seen = unwrap(image, ours.head, ours.vertices_1v3, ours.camera, _PASTED_SIZE)
    known = (seen.float() > 0.5).float()
    mirrored = known.flip(-1) * (1.0 - known)
    texture = pull_push(known * texture + mirrored * texture.flip(-1), known + mirrored)
    plain = flat_maps(torch.zeros(3), ours)
    sized = Maps(*(_enlarged(getattr(plain, name)) for name in vars(plain)))
    return replace(sized, diffuse=texture.clamp(0.0, 1.0), confidence=known)


def _enlarged(map_1chw: Tensor) -> Tensor:
    return map_1chw[:, :, :1, :1].expand(-1, -1, _PASTED_SIZE, _PASTED_SIZE).contiguous()


def _posed_like(ours: Avatar, neutral_1v3: Tensor) -> Avatar:
    """Another neutral head with our expression's offsets, where our head is (rigid fit of the faces)."""
    moved = shape.aligned(ours.head, shape.array(neutral_1v3), shape.array(ours.neutral_1v3), scaled=False)
    neutral = torch.from_numpy(moved).to(ours.neutral_1v3)[None]
    return replace(ours, neutral_1v3=neutral, vertices_1v3=neutral + ours.vertices_1v3 - ours.neutral_1v3)
