"""Finds the detector's landmarks on the mean of scans, from grey renders of people drawn from their statistics."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mosar.datasets.head_building import builder, eyes_and_mouth, part_fit
from mosar.datasets.head_building.scans import Scans
from mosar.models.face_outlines import LANDMARKS
from mosar.models.head.identity_sampling import SCAN_MODE, SCANNED

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_LIMIT_MM = 2.5  # landmarks that spread further over the renders are not reliable
_MODES = 30  # the first modes tell apart the people of the renders


def scan_landmarks(scans: Scans, views: int, seed: int) -> tuple[Array, Mask]:
    """Places (478 3), mm, in the scans' frame, and which of them are reliable (478).

    Raises:
        DataError: the detector finds no face.
    """
    balls = [scans.parts[name] for name in ("left_eye", "right_eye") if name in scans.parts]
    centre_3 = np.mean([part_fit.sphere(scans.mean_v3[b])[0] for b in balls], axis=0) if balls else _middle(scans)
    eyes_f3 = [_ball_triangles(scans.all_f3, ball) for ball in balls]
    triangles_f3 = np.concatenate([scans.skin_f3, *eyes_f3])
    used, flat = np.unique(triangles_f3, return_inverse=True)
    place_v2 = np.zeros((len(scans.mean_v3), 2), np.float32)
    for ball in balls:
        place_v2[ball] = eyes_and_mouth.eye_uv(scans.mean_v3[ball])
    triangles_f3 = flat.reshape(-1, 3)
    count = min(_MODES, len(scans.modes_mv3))
    names = tuple(f"{SCAN_MODE}{i:03d}" for i in range(count))
    source: dict[str, Any] = {
        "name": scans.name,
        "template_v3": (scans.mean_v3 - centre_3)[used].astype(np.float32),
        "triangles_f3": triangles_f3,
        "material_f": np.repeat([0, 1], [len(scans.skin_f3), len(triangles_f3) - len(scans.skin_f3)]),
        "material_names": ("skin", "eyes"),
        "uv_w2": place_v2[used],
        "uv_triangles_f3": triangles_f3,
        "eyes_albedo_hw3": eyes_and_mouth.eyes_albedo(),
        "mouth_albedo_hw3": eyes_and_mouth.mouth_albedo(),
        "archetype_names": (SCANNED,),
        "archetypes_av3": np.zeros((1, len(used), 3), np.float32),
        "mode_names": names,
        "mode_std_m": np.ones(count, np.float32),
        "modes_mv3": scans.modes_mv3[:count, used],
        "expression_names": (),
        "expressions_ev3": np.zeros((0, len(used), 3), np.float32),
    }
    fields = builder.build(source, {}, views, seed)
    triangle_l, barycentric_l3 = fields["landmark_triangle_l"], fields["landmark_barycentric_l3"]
    corners_l33 = scans.mean_v3[used][triangles_f3[np.maximum(triangle_l, 0)]]
    spread_l = np.sqrt(1 / np.maximum(fields["landmark_weight_l"], 1e-9) - 1)
    known_l = (triangle_l >= 0) & (spread_l < _LIMIT_MM) & (np.arange(LANDMARKS) < LANDMARKS - 10)
    return (corners_l33 * barycentric_l3[..., None]).sum(1), known_l


def _ball_triangles(all_f3: npt.NDArray[np.int64], ball: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return all_f3[np.isin(all_f3, ball).all(1)]


def _middle(scans: Scans) -> Array:
    low, high = scans.mean_v3[np.unique(scans.skin_f3)].min(0), scans.mean_v3[np.unique(scans.skin_f3)].max(0)
    return np.asarray((low + high) / 2)
