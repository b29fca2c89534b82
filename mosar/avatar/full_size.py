"""Pictures of the size of a photograph, made tile by tile: 50 megapixels take little more memory than their bytes."""

import numpy as np
import numpy.typing as npt

from mosar.avatar.avatar import Avatar
from mosar.avatar.encode import srgb8, unit8
from mosar.avatar.render import Picture, tiles
from mosar.models.camera import Camera

Bytes = npt.NDArray[np.uint8]


def over_photograph(avatar: Avatar) -> tuple[Bytes, Bytes]:
    """The avatar over its photograph (h, w, 3), sRGB, and 255 where its visible facial skin is (h, w).

    An opened avatar has no photograph; black takes its place.
    """
    size = avatar.height, avatar.width
    image = np.zeros((*size, 3), np.uint8) if avatar.photograph_hw3 is None else avatar.photograph_hw3.copy()
    mask = np.zeros(size, np.uint8)
    for place, part in tiles(avatar, avatar.camera, size):
        image[place] = over(part, image[place])
        mask[place] = unit8((part.face_11hw > 0.5).float())
    return image, mask


def coloured(avatar: Avatar, camera: Camera, size: tuple[int, int]) -> Bytes:
    """The avatar alone (h, w, 4): sRGB, not premultiplied, and coverage."""
    image = np.zeros((*size, 4), np.uint8)
    for place, part in tiles(avatar, camera, size):
        image[place] = np.concatenate([_colour(part), unit8(part.alpha_11hw)[..., None]], axis=2)
    return image


def over(picture: Picture, behind_hw3: Bytes) -> Bytes:
    """A rendered avatar over an sRGB image of its size (h, w, 3)."""
    alpha_hw1 = picture.alpha_11hw[0].permute(1, 2, 0).cpu().numpy()
    mixed = alpha_hw1 * _colour(picture) + (1.0 - alpha_hw1) * behind_hw3
    return np.asarray(mixed.round(), np.uint8)


def _colour(picture: Picture) -> Bytes:
    return srgb8(picture.colour_13hw / picture.alpha_11hw.clamp_min(1e-6))
