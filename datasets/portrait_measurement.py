"""Measure portraits for :mod:`mosar.datasets.portrait_statistics`: the detector's view, light on average skin."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from mosar.datasets import crop, detection, lights
from mosar.datasets.landmarks import Face
from mosar.datasets.portrait_statistics import PortraitStatistics, expression_groups
from mosar.datasets.quality import angles
from mosar.datasets.skin_mask import skin_mask
from mosar.models.camera import Camera, transform_image, views
from mosar.models.colour import LUMINANCE, to_linear
from mosar.models.head import Head
from mosar.models.head.expressions import NAMES
from mosar.models.head.morph import landmarks, shape, vertex_normals
from mosar.models.rasterizer import covered, gather, rasterize
from mosar.models.reconstruct.light_estimation import solve_light
from mosar.models.shading import Material, irradiance, sh

SIZE = 192
"""Side of the crop in which light is measured, pixels."""
_SKIN = (0.337, 0.175, 0.110)
"""Median diffuse albedo of facial skin, linear (ISSA, Lu et al. 2025, less the surface reflection)."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """What one portrait shows.

    ``scores_e`` (52); ``pose``: yaw, pitch, roll in degrees; ``outside``: shares of the crop's side beyond the
    photograph (left, top, right, bottom); ``light`` (8): bands 1 and 2 of its luminance relative to band 0, NaN if it
    could not be measured; ``brightness``: median luminance of the skin, linear.
    """

    scores_e: NDArray[np.float32]
    pose: NDArray[np.float64]
    outside: NDArray[np.float64]
    light: NDArray[np.float64]
    brightness: float


@torch.no_grad()
def measure(head: Head, image_hw3: NDArray[np.uint8], face: Face) -> Portrait:
    """Measure a photograph (sRGB) in which the detector found ``face``."""
    height, width = image_hw3.shape[:2]
    points = face.landmarks[:, :2]
    affine = crop.face_crop(points, SIZE)
    corners = crop.transform_points(np.array([[0, 0], [width, height]], np.float32), affine)
    outside = np.clip(np.array([*corners[0], *(SIZE - corners[1])]) / SIZE, 0, 0.5)
    picture, marks = crop.warp(image_hw3, affine, SIZE), crop.transform_points(points, affine)
    linear = to_linear(torch.from_numpy(picture).double() / 255).numpy()
    skin = skin_mask(marks, SIZE, SIZE) > 0
    rotation = face.pose[:3, :3] / np.cbrt(np.linalg.det(face.pose[:3, :3]))
    roll = float(np.degrees(np.arctan2(rotation[1, 0], rotation[1, 1])))
    whole = crop.assumed_intrinsics(points, height, width)
    return Portrait(
        scores_e=detection.scores(face),
        pose=np.array([*angles(rotation), roll]),
        outside=outside,
        light=_light(head, linear, skin, points, whole, affine, detection.scores(face)),
        brightness=float(np.median((linear @ LUMINANCE)[skin])) if skin.any() else float("nan"),
    )


def _light(
    head: Head, linear_hw3: NDArray[np.float64], skin_hw: NDArray[np.bool_], points_l2: NDArray[np.float32],
    intrinsics_33: NDArray[np.float64], to_crop_33: NDArray[np.float64], scores_e: NDArray[np.float32],
) -> NDArray[np.float64]:  # fmt: skip
    """Bands 1 and 2 (8) of the light on the average head with average skin, relative to band 0; NaN without a pose."""
    named = dict(zip(NAMES, scores_e, strict=True))
    weights = torch.tensor([[float(named.get(n, 0.0)) for n in head.expression_names]])
    nobody = torch.zeros(1, len(head.archetype_names)), torch.zeros(1, len(head.mode_names))
    mesh = shape(head, *nobody, weights).double()
    known = (head.landmark_triangle_l >= 0) & (head.landmark_weight_l > 0)
    place = landmarks(head, mesh)[0].numpy()[known]
    done, turn, shift = cv2.solvePnP(
        place.astype(np.float64), points_l2[known].astype(np.float64), intrinsics_33, None, flags=cv2.SOLVEPNP_SQPNP
    )
    if not done:
        return np.full(8, np.nan)
    photo = Camera(*(torch.from_numpy(x)[None] for x in (intrinsics_33, cv2.Rodrigues(turn)[0], shift[:, 0])))
    camera = transform_image(photo, torch.from_numpy(to_crop_33)[None])
    triangles = torch.tensor(head.triangles_f3)
    seen = covered(rasterize(mesh, triangles, camera, skin_hw.shape), len(triangles))
    bare = head.region("face") if "face" in head.region_names else np.ones(len(head.template_v3), bool)
    used = (head.material_f == 0) & bare[head.triangles_f3].all(1)
    kept = used[seen.triangle_n.numpy()] & skin_hw[seen.row_n.numpy(), seen.column_n.numpy()]
    if kept.sum() < 500:
        return np.full(8, np.nan)
    normal = normalize(gather(seen, triangles, vertex_normals(mesh, triangles)), dim=-1)[kept][None].float()
    position = gather(seen, triangles, mesh)[kept][None]
    towards = views(camera, position).float()
    colour = linear_hw3[seen.row_n.numpy()[kept], seen.column_n.numpy()[kept]]
    count = normal.shape[1]
    one = torch.ones(1, count, 1)
    material = Material(torch.tensor(_SKIN).expand(1, count, 3), 0.3 * one, one, 0.3 * one)
    light = solve_light(material, normal, towards, torch.from_numpy(colour).float()[None], _usual_light())[0]
    grey = light[:9].double().numpy() @ LUMINANCE
    return np.asarray(grey[1:] / max(float(grey[0]), 1e-6))


def _usual_light() -> torch.Tensor:
    """Mean (1, 81, 3) of the training maps turned about the vertical axis: brighter above than below."""
    turned = []
    for name in lights.TRAIN_LIGHTS:
        light = torch.from_numpy(lights.light_sh(name))[None].double()
        for angle in np.linspace(0, 2 * np.pi, 8, endpoint=False):
            turn = torch.from_numpy(cv2.Rodrigues(np.array([0.0, angle, 0.0]))[0])[None]
            turned.append(sh.rotate(light, turn))
    mean = torch.cat(turned).mean(0, keepdim=True)
    return (mean / irradiance(mean, torch.tensor([[[0.0, 0, 1]]]).double()).mean() * np.pi).float()


def detected_boxes(
    detected_nl3: NDArray[np.floating], marks_nl3: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``box`` of :class:`PortraitStatistics`, from the detector's points and the landmarks of samples; robust."""
    moved = []
    for seen, marks in zip(detected_nl3, marks_nl3, strict=True):
        (centre, side), (true_centre, true_side) = crop.box(seen[:, :2]), crop.box(marks)
        moved.append([*((centre - true_centre) / true_side), np.log(side / true_side)])
    middle = np.median(moved, 0) * [0, 1, 1]  # to either side alike
    spread = 1.48 * np.median(np.abs(np.array(moved) - middle), 0)
    return np.asarray(middle), np.asarray(spread)


def summarise(
    found: list[Portrait],
    response: tuple[NDArray[np.floating], NDArray[np.floating]],
    box: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> PortraitStatistics:
    """The statistics of portraits, given those of rendered faces: :func:`detector_response`, :func:`detected_boxes`.

    Outliers of pose and light beyond 3.5 deviations do not count.
    """
    scores = np.stack([p.scores_e for p in found])
    lights_n8 = _inliers(np.stack([p.light for p in found]))
    poses = _inliers(np.stack([p.pose for p in found]))
    bright = np.log(np.array([p.brightness for p in found if p.brightness > 0]))
    return PortraitStatistics(
        count=len(found),
        groups=expression_groups(scores),
        bias_e=np.asarray(response[0], np.float64),
        slope_e=np.asarray(response[1], np.float64),
        box=box,
        pose=(poses.mean(0), np.cov(poses.T)),
        outside_4q=np.quantile(np.stack([p.outside for p in found]), np.linspace(0, 1, 11), axis=0).T,
        light=(lights_n8.mean(0), np.cov(lights_n8.T)),
        brightness=(float(bright.mean()), float(bright.std())),
    )


def detector_response(
    weights_ne: NDArray[np.floating], scores_ne: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bias and slope (52) of the detector's scores on faces rendered with known weights (n, 52), by least squares.

    The bias is the median where the weight is nearly zero. A slope of less than 0.25 says that the detector hardly sees
    the expression: 1 is kept then.
    """
    bias, slope = np.zeros(weights_ne.shape[1]), np.ones(weights_ne.shape[1])
    for number, (weight, score) in enumerate(zip(weights_ne.T, scores_ne.T, strict=True)):
        if (weight < 0.05).any():
            bias[number] = np.median(score[weight < 0.05])
        if weight.std() > 1e-3:
            steep = float(np.cov(weight, score)[0, 1] / weight.var(ddof=1))
            slope[number] = steep if steep >= 0.25 else 1.0
    return bias, slope


def _inliers(values_nk: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows without NaN whose robust deviation from the median is below 3.5 in every column."""
    rows = values_nk[np.isfinite(values_nk).all(1)]
    middle = np.median(rows, 0)
    spread = 1.48 * np.median(np.abs(rows - middle), 0) + 1e-9
    return np.asarray(rows[(np.abs(rows - middle) < 3.5 * spread).all(1)])
