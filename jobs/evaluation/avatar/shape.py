"""Errors of meshes in millimetres, by known correspondence, and by REALY's regions.

Legend: v vertices, f vertices of the face.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mosar.avatar import Avatar
from mosar.jobs.evaluation.avatar import alignment
from mosar.models.head import Head
from mosar.models.head.head import REALY_KEYPOINTS
from mosar.models.head.morph import landmarks

Points = NDArray[np.float64]
REGIONS = ("nose", "mouth", "forehead", "cheek")


@dataclass(frozen=True, eq=False)
class Face:
    """The face of a head: its vertices (f), and their shares of its area on the template (f), which sum to one."""

    vertex_f: NDArray[np.int64]
    weight_f: Points

    def mean(self, error_f: Points) -> float:
        """Area-weighted mean."""
        return float(self.weight_f @ error_f)


@lru_cache(maxsize=8)
def face_of(head: Head) -> Face:
    vertex_f = np.flatnonzero(head.region("face") & ~head.region("interior"))
    area_f = vertex_areas(head)[vertex_f]
    return Face(vertex_f, area_f / area_f.sum())


@lru_cache(maxsize=8)
def vertex_areas(head: Head) -> Points:
    """A third of the area of the triangles around each vertex of the template (v), mm^2."""
    corners = head.template_v3[head.triangles_f3].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    total = np.bincount(head.triangles_f3.ravel(), np.repeat(area / 3, 3), len(head.template_v3))
    return np.asarray(total, np.float64)


def array(vertices_1v3: torch.Tensor) -> Points:
    return np.asarray(vertices_1v3[0].detach().cpu().numpy(), np.float64)


def aligned(head: Head, found_v3: Points, true_v3: Points, scaled: bool = True) -> Points:
    """The whole mesh ``found`` after a similarity (or rigid) alignment of its face to that of ``true``."""
    face = face_of(head)
    return alignment.fit(found_v3[face.vertex_f], true_v3[face.vertex_f], face.weight_f, scaled)(found_v3)


def vertex_errors(head: Head, found_v3: Points, true_v3: Points) -> Points:
    """Distance of each vertex from its true place after :func:`aligned` (v), mm."""
    return np.asarray(np.linalg.norm(aligned(head, found_v3, true_v3) - true_v3, axis=1))


def vertex_mm(head: Head, found_v3: Points, true_v3: Points) -> float:
    """Area-weighted mean over the face of :func:`vertex_errors`."""
    face = face_of(head)
    return face.mean(vertex_errors(head, found_v3, true_v3)[face.vertex_f])


def deviation(head: Head, neutral_v3: Points, true_v3: Points, mean_v3: Points) -> Points:
    """Offsets of the face (f, 3) from the average head, mm, when both are aligned to the same true neutral mesh.

    They are multiplied by the square root of the vertex's share of the face's area, so that a plain inner product of
    two deviations is the area-weighted one.
    """
    face = face_of(head)
    offset = aligned(head, neutral_v3, true_v3) - aligned(head, mean_v3, true_v3)
    return np.asarray(offset[face.vertex_f] * np.sqrt(face.weight_f)[:, None])


def region_mm(head: Head, found_v3: Points, true_v3: Points) -> dict[str, float]:
    """REALY's errors: a similarity on seven keypoints, then rigid ICP of each true region to the found surface.

    ``all`` is the mean of the four. These figures are not those of the REALY board, whose truth are scans.
    """
    keys = list(REALY_KEYPOINTS)
    found_k, true_k = (landmarks(head, torch.from_numpy(v)[None])[0, keys].numpy() for v in (found_v3, true_v3))
    moved = alignment.fit(found_k, true_k)(found_v3)
    faces = face_of(head)
    on_face = np.zeros(len(moved), bool)
    on_face[faces.vertex_f] = True
    surface = alignment.Surface(moved[head.triangles_f3[on_face[head.triangles_f3].any(1)]])
    found = {}
    for region in REGIONS:
        chosen = np.flatnonzero(head.region(region) & on_face)
        weight = vertex_areas(head)[chosen]
        found[region] = float(alignment.icp(true_v3[chosen], surface, weight) @ weight / weight.sum())
    return found | {"all": float(np.mean([found[r] for r in REGIONS]))}


def pose_degrees(found: Avatar, truth: Avatar, from_ray: bool = False) -> float:
    """Angle of the rigid fit between both posed faces in the frame of the camera.

    A rotation of the head frame that the camera undoes does not count.

    Args:
        from_ray: measure each pose against the ray from the camera to the middle of the face instead of against the
            optical axis. A crop shows this pose, and not where the optical axis was.
    """
    face = face_of(truth.head)

    def in_camera(avatar: Avatar) -> Points:
        rotation, shift = (x[0].double().numpy() for x in (avatar.camera.rotation_b33, avatar.camera.translation_b3))
        points = array(avatar.vertices_1v3)[face.vertex_f] @ rotation.T
        if not from_ray:
            return np.asarray(points)
        ray = face.weight_f @ points + shift
        return np.asarray(points @ _onto_axis(ray / np.linalg.norm(ray)).T)

    return alignment.fit(in_camera(found), in_camera(truth), face.weight_f).degrees


def _onto_axis(ray_3: Points) -> Points:
    """The smallest rotation that turns a unit vector in front of the camera onto its optical axis z."""
    axis = np.cross(ray_3, [0.0, 0.0, 1.0])
    sine = float(np.linalg.norm(axis))
    turn = axis / max(sine, 1e-12) * np.arctan2(sine, ray_3[2])
    return np.asarray(Rotation.from_rotvec(turn).as_matrix())


def shape_metrics(found: Avatar, truth: Avatar) -> dict[str, float]:
    """Millimetres and degrees of one avatar against the truth on the same head."""
    head = truth.head
    posed, true_posed = array(found.vertices_1v3), array(truth.vertices_1v3)
    regions = {f"{name}_mm": value for name, value in region_mm(head, posed, true_posed).items()}
    return {
        "neutral_vertex_mm": vertex_mm(head, array(found.neutral_1v3), array(truth.neutral_1v3)),
        "vertex_mm": vertex_mm(head, posed, true_posed),
        **regions,
        "pose_deg": pose_degrees(found, truth),
        "pose_from_ray_deg": pose_degrees(found, truth, from_ray=True),
    }
