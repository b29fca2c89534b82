"""Pictures of avatars for measures and sheets: over the photograph, under other lights, turned aside."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mosar.avatar import Avatar
from mosar.avatar.encode import srgb8
from mosar.avatar.lighting import LightLike
from mosar.avatar.render import Picture, render
from mosar.datasets.skin_mask import skin_mask
from mosar.models.camera import Camera, transform_image
from mosar.models.colour import luminance

Image = NDArray[np.uint8]

_LONGEST = 640
"""Longer side, pixels, of the pictures that are compared: the time of a measure does not depend on the photograph."""
_BEHIND = 0.05  # linear grey behind an avatar that is alone in its picture
_BRIGHT = 0.25  # mean linear luminance of a relit face, as after metering


@dataclass(frozen=True, eq=False)
class View:
    """A photograph of at most 640 pixels a side with the detector's points in it, and the map from the original's."""

    image_hw3: Image
    points_n2: NDArray[np.float64]
    affine_33: NDArray[np.float64]

    @property
    def size(self) -> tuple[int, int]:
        return self.image_hw3.shape[0], self.image_hw3.shape[1]


def view_of(image_hw3: Image, points_n2: NDArray[np.floating]) -> View:
    height, width = image_hw3.shape[:2]
    scale = min(1.0, _LONGEST / max(height, width))
    small = image_hw3
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(image_hw3, size, interpolation=cv2.INTER_AREA), np.uint8)
    affine = np.diag([small.shape[1] / width, small.shape[0] / height, 1.0])
    return View(small, np.asarray(points_n2, np.float64)[:, :2] * affine.diagonal()[:2], affine)


def rendered(avatar: Avatar, view: View) -> Picture:
    """The avatar in the place where the photograph shows the person."""
    return render(avatar, transform_image(avatar.camera, torch.from_numpy(view.affine_33).float()[None]), view.size)


def over(picture: Picture, behind_hw3: Image) -> Image:
    """A rendered avatar over an image of its size, blended as encoded."""
    alpha = picture.alpha_11hw[0, 0, :, :, None].numpy()
    colour = srgb8(picture.colour_13hw / picture.alpha_11hw.clamp_min(1e-6))
    return np.asarray(alpha * colour + (1 - alpha) * behind_hw3 + 0.5, np.uint8)


def hull_psnr(picture: Picture, view: View) -> tuple[float, float]:
    """PSNR (dB) over the face's hull less eyes and mouth, and the share of it that the avatar shows.

    The same pixels for every row: where an avatar shows nothing, the photograph's mean colour there counts.
    """
    hull = skin_mask(view.points_n2, *view.size) > 0
    mean = np.rint(view.image_hw3[hull].mean(0)).astype(np.uint8)
    shown = over(picture, np.broadcast_to(mean, view.image_hw3.shape))
    error = (shown[hull].astype(np.float64) - view.image_hw3[hull]) / 255
    share = float(picture.alpha_11hw[0, 0].numpy()[hull].mean())
    return float(-10 * np.log10(max(float((error**2).mean()), 1e-6))), share


def turned_camera(camera: Camera, degrees: float) -> Camera:
    """The camera that sees the head turned about its vertical axis, to the subject's left for positive angles."""
    angle = np.deg2rad(degrees)
    turn = torch.tensor([[np.cos(angle), 0.0, np.sin(angle)], [0.0, 1.0, 0.0], [-np.sin(angle), 0.0, np.cos(angle)]])
    rotation = camera.rotation_b33 @ turn.to(camera.rotation_b33)
    return Camera(camera.intrinsics_b33, rotation, camera.translation_b3)


def face_square(avatar: Avatar, camera: Camera, size: int) -> Camera:
    """The camera of a square picture around the face."""
    points = replace(avatar, camera=camera).landmarks_px()
    points = points[torch.isfinite(points).all(dim=1)]
    low, high = points.amin(dim=0), points.amax(dim=0)
    side = 1.8 * float((high - low).max())
    left, top = ((low + high) / 2 - torch.tensor([0.5, 0.54]) * side).tolist()
    scale = size / side
    affine = torch.tensor([[scale, 0.0, -left * scale], [0.0, scale, -top * scale], [0.0, 0.0, 1.0]])
    return transform_image(camera, affine[None])


def alone(
    avatar: Avatar, light: LightLike | None, degrees: float, size: int, metered: bool = True
) -> tuple[Image, Camera]:
    """The avatar alone in a square picture on grey, under a light (its own if None), turned; and its camera.

    ``metered``: exposed such that its skin is as bright as in a photograph, so that a light's strength does not count.
    """
    subject = avatar if light is None else avatar.relight(light)
    camera = face_square(avatar, turned_camera(avatar.camera, degrees), size)
    picture = render(subject, camera, (size, size))
    exposure = _BRIGHT / _brightness(picture) if metered else 1.0
    return srgb8(exposure * picture.colour_13hw + (1.0 - picture.alpha_11hw) * _BEHIND), camera


def _brightness(picture: Picture) -> float:
    weight = picture.face_11hw
    value = luminance(picture.colour_13hw)
    return max(float((value * weight).sum() / weight.sum().clamp_min(1e-6)), 1e-3)
