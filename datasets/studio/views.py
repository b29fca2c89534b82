"""Read a camera of a real light stage and its photograph; derive crop, landmarks and mask."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets import crop
from mosar.datasets.landmark_visibility import hide_covered
from mosar.datasets.schema import CLASSES, UNKNOWN
from mosar.datasets.studio.layout import ColourSpace, Studio
from mosar.datasets.studio.maps import colour
from mosar.datasets.studio.meshes import Motion
from mosar.errors import DataError
from mosar.models.camera import Camera, project, to_camera
from mosar.models.head import Head
from mosar.models.head.morph import landmarks
from mosar.models.rasterizer import rasterize

_ACROSS = 1e-3
_KEYS = {"image", "intrinsics", "rotation", "translation_mm", "distortion", "mask", "classes", "landmarks", "cropped"}


@dataclass(frozen=True, eq=False)
class StudioView:
    """A calibrated photograph in the head frame: H x W x 3 sRGB, intrinsics (pixel centres at integers + 0.5), pose.

    ``file``: the file that it was read from, if the pixels are unchanged.
    """

    image_hw3: NDArray[np.uint8]
    intrinsics_33: NDArray[np.float64]
    rotation_33: NDArray[np.float64]
    translation_3: NDArray[np.float64]
    file: Path | None


def read_view(folder: Path, given: dict[str, Any], studio: Studio, motion: Motion) -> StudioView:
    """Read a camera of ``cameras.json``. ``motion``: from the studio's frame (in mm) to the head frame.

    Raises:
        DataError: a key is missing or unknown, a value is invalid, or the photograph is unreadable.
    """
    unknown = sorted(set(given) - _KEYS)
    if unknown:
        raise DataError(f"unknown key {unknown[0]!r}; expected some of {', '.join(sorted(_KEYS))}")
    k = _numbers(given, "intrinsics", (3, 3))
    rotation = _numbers(given, "rotation", (3, 3))
    translation = _numbers(given, "translation_mm", (3,))
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _ACROSS or np.linalg.det(rotation) < 0:
        raise DataError("rotation is not a rotation: its rows must be orthogonal, of length 1 and right-handed")
    if k[0, 0] <= 0 or k[1, 1] <= 0 or np.abs(k[2] - [0, 0, 1]).max() > 1e-9:
        raise DataError("intrinsics: expected positive focal lengths and 0 0 1 in the last row")
    if "image" not in given:
        raise DataError("no key 'image'")
    path = inside(folder, given, "image")
    space: ColourSpace = studio.colour["image"]
    image = colour(path, space)
    exact = path.suffix.lower() in (".jpg", ".jpeg") and space == "srgb"
    k = k.copy()
    k[:2, 2] += 0.5 - studio.pixel_centre
    if np.any(given.get("distortion", 0)):
        centred = k - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # OpenCV has pixel centres at integers
        image, exact = cv2.undistort(image, centred, np.asarray(given["distortion"], np.float64)), False
    if motion.degrees or motion.shift_3.any():
        rotation = rotation @ motion.rotation_33.T
        translation = translation - rotation @ motion.shift_3
    return StudioView(image, k, rotation, translation, path if exact else None)


def inside(folder: Path, given: Mapping[str, Any], key: str) -> Path:
    """The file that a camera names under ``key``.

    Raises:
        DataError: it lies outside of the capture's folder.
    """
    path = folder / str(given[key])
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{key} {given[key]!r} lies outside of the capture's folder")
    return path


def crop_view(
    view: StudioView, head: Head, mesh_v3: NDArray[np.float64], size: int, cropped: bool
) -> tuple[dict[str, Any], StudioView, Camera]:
    """Members of a sample that show the face's crop (image, landmarks, mask, classes, camera); its view and camera.

    ``cropped``: the photograph already is the face's crop; it is only resized to ``size``.

    Raises:
        DataError: the camera does not see the face, or a cropped photograph is not square.
    """
    mesh = torch.from_numpy(mesh_v3.astype(np.float32))[None]
    points = landmarks(head, mesh)
    known = head.landmark_triangle_l >= 0
    wide = _camera(view)
    if float(to_camera(wide, points)[0, known, 2].min()) < 50:
        raise DataError("the face is behind the camera or closer than 50 mm; is the pose world to camera?")
    flat = project(wide, points)[0].numpy().astype(np.float64)
    height, width = view.image_hw3.shape[:2]
    inside = float(np.all((flat > 0) & (flat < [width, height]), axis=1)[known].mean())
    if inside < 0.5:
        raise DataError(f"{inside:.0%} of the face lies in the photograph, expected at least half")
    marks = np.concatenate([flat, known[:, None]], 1)
    marks[~known] = 0
    if cropped and height != width:
        raise DataError(f"photograph of {width} x {height} pixels is marked as cropped, expected a square")
    affine = crop.resize_affine(height, size) if cropped else crop.face_crop(marks, size)
    same = cropped and height == size
    image = view.image_hw3 if same else crop.warp(view.image_hw3, affine, size)
    moved = StudioView(
        image, affine @ view.intrinsics_33, view.rotation_33, view.translation_3, view.file if same else None
    )
    camera = _camera(moved)
    marks = crop.transform_points(marks, affine)
    triangle, depth = _visible(head, mesh, camera, size)
    sample = {
        "image": image,
        "landmarks": hide_covered(marks, to_camera(camera, points)[0, :, 2].numpy(), depth),
        "mask": np.where(_skin(head)[triangle] & (triangle >= 0), 255, 0).astype(np.uint8),
        "classes": np.where(triangle >= 0, _classes(head)[triangle], UNKNOWN).astype(np.uint8),
        "camera": {
            "size": size,
            "intrinsics": moved.intrinsics_33.round(5).tolist(),
            "rotation": moved.rotation_33.round(8).tolist(),
            "translation_mm": moved.translation_3.round(5).tolist(),
        },
    }
    return sample, moved, camera


def _camera(view: StudioView) -> Camera:
    parts = (view.intrinsics_33, view.rotation_33, view.translation_3)
    return Camera(*(torch.from_numpy(p.astype(np.float32))[None] for p in parts))


def _visible(
    head: Head, mesh_1v3: torch.Tensor, camera: Camera, size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Triangle (-1 in the background) and depth (infinite in the background) of each pixel."""
    seen = rasterize(mesh_1v3, torch.tensor(head.triangles_f3), camera, (size, size))
    triangle, depth = seen.pix_to_face[0, ..., 0].numpy(), seen.zbuf[0, ..., 0].numpy()
    return triangle, np.where(triangle >= 0, depth, np.inf).astype(np.float32)


def _skin(head: Head) -> NDArray[np.bool_]:
    """Which triangles are bare skin: not in the head's regions scalp, interior or neck."""
    covered = np.zeros(len(head.template_v3), bool)
    for name in ("scalp", "interior", "neck"):
        if name in head.region_names:
            covered |= head.region(name)
    return (head.material_f == 0) & ~covered[head.triangles_f3].any(1)


def _classes(head: Head) -> NDArray[np.int64]:
    """Class of each triangle; unknown where hair or clothes may cover it, as beyond the mesh: hair or background."""
    found = np.where(_skin(head), CLASSES.index("skin"), UNKNOWN)
    for region, name in (("brows", "brows"), ("lips", "lips")):
        if region in head.region_names:
            found[_skin(head) & head.region(region)[head.triangles_f3].all(1)] = CLASSES.index(name)
    for material, name in (("eyes", "eyes"), ("mouth", "mouth")):
        if material in head.material_names:
            found[head.material_f == head.material_names.index(material)] = CLASSES.index(name)
    return found


def _numbers(given: dict[str, Any], key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    if key not in given:
        raise DataError(f"no key {key!r}")
    try:
        array = np.asarray(given[key], np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{key}: not numbers ({error})") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise DataError(f"{key}: shape {array.shape}, expected {shape} finite numbers")
    return array
