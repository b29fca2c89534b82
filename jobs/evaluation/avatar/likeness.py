"""Likeness by networks that nothing was fitted to: a 68-point detector and face recognition. For evaluation only."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mosar.avatar import Avatar
from mosar.datasets.lights import HELD_OUT_LIGHTS
from mosar.jobs.evaluation.avatar.landmark_fit import outer_eye_distance
from mosar.jobs.evaluation.avatar.pictures import View, alone
from mosar.jobs.evaluation.judges import correspondence
from mosar.jobs.evaluation.judges.landmarks68 import hull
from mosar.jobs.evaluation.judges.load import Judges
from mosar.models.camera import Camera

TURN_DEGREES = 15.0
_SIZE = 256  # pixels of a relit picture

Descriptors = Mapping[str, NDArray[np.float32]]


def points68(judge: Judges, image_hw3: NDArray[np.uint8], around_n2: NDArray[np.floating]) -> NDArray[np.float32]:
    """The 68 points, by the other detector, of the face whose points lie ``around``, pixels."""
    return judge.landmarks68.points(image_hw3, hull(around_n2[np.isfinite(around_n2).all(1)]))


def describe(judge: Judges, image_hw3: NDArray[np.uint8], around_n2: NDArray[np.floating]) -> NDArray[np.float32]:
    """Descriptor (128) of the face whose points lie ``around``, pixels."""
    return judge.recognition.describe(image_hw3, points68(judge, image_hw3, around_n2))


def judge_nme(judge: Judges, avatar: Avatar, view: View) -> float:
    """Mean distance of the avatar's points from the other detector's, as a share of the outer-eye distance."""
    theirs = points68(judge, view.image_hw3, view.points_n2)[correspondence.SCORED]
    ours = avatar.landmarks_px().numpy()[correspondence.OURS] * view.affine_33.diagonal()[:2]
    known = np.isfinite(ours).all(1)
    return float(np.linalg.norm(ours - theirs, axis=1)[known].mean() / outer_eye_distance(view.points_n2))


def descriptors(judge: Judges, avatar: Avatar, over_hw3: NDArray[np.uint8], view: View) -> Descriptors:
    """Descriptors of the re-render over the photograph, and (k, 128) of the avatar alone under the held-out lights."""
    relit = []
    for light in HELD_OUT_LIGHTS:
        image, camera = alone(avatar, light, TURN_DEGREES, _SIZE)
        relit.append(describe(judge, image, _points_in(avatar, camera)))
    return {"render": describe(judge, over_hw3, view.points_n2), "relit": np.stack(relit)}


def others(photograph_p128: NDArray[np.float32]) -> float:
    """Mean distance between different people's photographs."""
    apart = np.linalg.norm(photograph_p128[:, None] - photograph_p128[None], axis=-1)
    count = len(apart)
    return float(apart.sum() / (count * (count - 1))) if count > 1 else float("nan")


def rank1(photograph_p128: NDArray[np.float32], relit_pk128: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """For each person the share of the lights under which the avatar is nearest to the person's own photograph."""
    found = []
    for person, relit_k128 in enumerate(relit_pk128):
        apart_kp = np.linalg.norm(relit_k128[:, None] - photograph_p128[None], axis=-1)
        found.append(float((apart_kp.argmin(1) == person).mean()))
    return np.array(found)


def _points_in(avatar: Avatar, camera: Camera) -> NDArray[np.float64]:
    return np.asarray(replace(avatar, camera=camera).landmarks_px().numpy(), np.float64)
