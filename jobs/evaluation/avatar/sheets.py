"""Tiles of the report's sheets: square pictures of one size by caption, sRGB."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mosar.avatar import Avatar
from mosar.avatar.encode import srgb8
from mosar.jobs.evaluation.avatar import pictures, shape, texels
from mosar.jobs.evaluation.avatar.pictures import View
from mosar.jobs.evaluation.avatar.rows import flat_maps, white
from mosar.jobs.evaluation.avatar.truth import Capture
from mosar.models.camera import transform_image
from mosar.models.uv import chart, interpolate

Tiles = dict[str, NDArray[np.uint8]]

TILE = 144
LIGHTS = ("studio", "courtyard")
_TURN_DEGREES = 30.0
_WORST_MM = 5.0
"""Error that is shown as the last colour of the error map."""
_CLAY = 0.3


def portrait_tiles(avatar: Avatar, view: View) -> Tiles:
    """Photograph, re-render, albedo, two other lights, and the mesh turned 30 degrees to the left."""
    tiles = _pair(avatar, view) | {"albedo": _sized(srgb8(texels.at_size(avatar.maps.diffuse)))}
    tiles |= {light: pictures.alone(avatar, light, 0.0, TILE)[0] for light in LIGHTS}
    return tiles | {"mesh": _mesh(avatar)}


def truth_tiles(avatar: Avatar, capture: Capture) -> Tiles:
    """As :func:`portrait_tiles`, with the true albedo and mesh, and the neutral mesh's error on the head."""
    truth = capture.truth
    view = pictures.view_of(capture.photograph_hw3, avatar.landmarks_px().nan_to_num().numpy())
    tiles = portrait_tiles(avatar, view)
    tiles["true albedo"] = _sized(srgb8(texels.at_size(truth.maps.diffuse)))
    tiles["true mesh"] = _mesh(truth)
    tiles[f"error to {_WORST_MM:g} mm"] = error_map(avatar, truth)
    return tiles


def error_map(avatar: Avatar, truth: Avatar) -> NDArray[np.uint8]:
    """The true neutral head, coloured by the distance of ours after alignment; grey off the face."""
    head = truth.head
    error_v = shape.vertex_errors(head, shape.array(avatar.neutral_1v3), shape.array(truth.neutral_1v3))
    on_face = torch.from_numpy(head.region("face").astype(np.float32))
    both_1v2 = torch.stack([torch.from_numpy(error_v).float(), on_face], dim=1)[None]
    value, face = interpolate(chart(head, texels.SIZE), torch.tensor(head.triangles_f3), both_1v2)[0]
    coloured = cv2.applyColorMap(
        (value / _WORST_MM * 255).clamp(0, 255).byte().numpy(), cv2.COLORMAP_TURBO
    )[..., ::-1]  # fmt: skip
    linear = torch.from_numpy(coloured.astype(np.float32) / 255).permute(2, 0, 1)[None] ** 2.2
    diffuse = torch.where(face > 0.5, linear, torch.full_like(linear, _CLAY))
    plain = flat_maps(torch.full((3,), _CLAY), truth)
    sized = replace(plain, **{k: texels.at_size(v) for k, v in vars(plain).items() if k != "diffuse"}, diffuse=diffuse)
    subject = replace(truth, vertices_1v3=truth.neutral_1v3, maps=sized, light_1lc=white(truth.light_1lc))
    return pictures.alone(subject, None, 0.0, TILE, False)[0]


def _pair(avatar: Avatar, view: View) -> Tiles:
    """The photograph's face, and the re-render over it."""
    over = pictures.over(pictures.rendered(avatar, view), view.image_hw3)
    camera = transform_image(avatar.camera, torch.from_numpy(view.affine_33).float()[None])
    square = pictures.face_square(avatar, camera, TILE)
    scale = float(square.intrinsics_b33[0, 0, 0] / camera.intrinsics_b33[0, 0, 0])
    shift = (square.intrinsics_b33[0, :2, 2] - scale * camera.intrinsics_b33[0, :2, 2]).tolist()
    affine = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
    cut = {"photograph": view.image_hw3, "re-render": over}
    return {
        name: np.asarray(
            cv2.warpAffine(image, affine, (TILE, TILE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )
        for name, image in cut.items()
    }


def _mesh(avatar: Avatar) -> NDArray[np.uint8]:
    clay = replace(avatar, maps=flat_maps(torch.full((3,), _CLAY), avatar))
    return pictures.alone(clay, (-40.0, 30.0), _TURN_DEGREES, TILE)[0]


def _sized(image_hw3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image_hw3, (TILE, TILE), interpolation=cv2.INTER_AREA), np.uint8)
