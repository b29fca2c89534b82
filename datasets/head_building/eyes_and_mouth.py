"""Fixed albedo maps of the eyeballs and of teeth and tongue, and the UV of their vertices on these maps."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

_SIZE = 256
_IRIS_MM, _PUPIL_MM = 5.9, 2.3  # radii
_BALL_MM = 13.8  # radius of MakeHuman's eyeballs
_REACH = 0.48  # radius of the eyeball's equator on the map, over the map's side
_BLOCKS = {"teeth": (0.02, 0.31), "gums": (0.35, 0.64), "tongue": (0.68, 0.98)}  # columns of the map of the mouth


def eye_uv(vertices_n3: Array) -> Array:
    """UV (n 2) on the map of eyes: the eyeball seen from the front, its back half projected onto the rim.

    In this projection straight edges of the mesh stay straight, so that a coarse eyeball still has a round iris.
    """
    centred = vertices_n3 - (vertices_n3.max(0) + vertices_n3.min(0)) / 2
    radius = (vertices_n3[:, :2].max(0) - vertices_n3[:, :2].min(0)).mean() / 2
    flat = centred[:, :2] / radius
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    rim = flat / np.maximum(length, 1e-6)
    return np.asarray(0.5 + _REACH * np.where(centred[:, 2:] < 0, rim, flat / np.maximum(length, 1)))


def teeth_uv(vertices_n3: Array, upper: bool) -> Array:
    """UV (n 2) on the map of the mouth: u runs from the teeth block to the gums block at the root, v along the arch."""
    low, high = vertices_n3[:, 1].min(), vertices_n3[:, 1].max()
    root = (vertices_n3[:, 1] - low) / (high - low)
    root = root if upper else 1 - root
    angle = np.arctan2(vertices_n3[:, 0], vertices_n3[:, 2] - vertices_n3[:, 2].min() + 5)
    along = 0.5 + 0.45 * angle / np.abs(angle).max()
    return np.stack([_BLOCKS["teeth"][0] + root * (_BLOCKS["gums"][1] - _BLOCKS["teeth"][0]), along], 1)


def tongue_uv(vertices_n3: Array) -> Array:
    """UV (n 2) on the map of the mouth, in the block of the tongue, seen from above."""
    low, span = vertices_n3.min(0), np.ptp(vertices_n3, axis=0)
    u, v = (vertices_n3[:, 0] - low[0]) / span[0], (vertices_n3[:, 2] - low[2]) / span[2]
    first, last = _BLOCKS["tongue"]
    return np.stack([first + u * (last - first), 0.03 + 0.94 * v], 1)


def eyes_albedo(ball_mm: float = _BALL_MM) -> Bytes:
    """Map of an eye (sRGB): sclera that reddens outwards, brown iris with fibres and a dark rim, pupil.

    Args:
        ball_mm: radius of the eyeball.
    """
    iris_share, pupil_share = _IRIS_MM / ball_mm, _PUPIL_MM / ball_mm
    y, x = (np.mgrid[0:_SIZE, 0:_SIZE] + 0.5) / _SIZE * 2 - 1
    radius, angle = np.hypot(x, y) / (2 * _REACH), np.arctan2(y, x)
    generator = np.random.default_rng(0)
    fibres = sum(
        np.cos(k * angle + generator.uniform(0, 2 * np.pi)) * generator.uniform(0.3, 1) for k in range(17, 71, 6)
    )
    sclera = (
        np.array([232, 226, 220.0]) - np.array([12, 36, 36.0]) * np.clip((radius - 0.45) / 0.5, 0, 1)[..., None] ** 2
    )
    within = np.clip((radius - pupil_share) / (iris_share - pupil_share), 0, 1)
    iris = np.array([104, 70, 44.0]) * (1.15 - 0.35 * within + 0.04 * fibres)[..., None]
    iris *= 1 - 0.6 * _step(0.82, 1.02, within)[..., None]
    eye = sclera + (iris - sclera) * (1 - _step(iris_share - 0.015, iris_share + 0.015, radius))[..., None]
    eye *= _step(pupil_share - 0.015, pupil_share + 0.015, radius)[..., None] * 0.96 + 0.04
    return np.clip(eye, 0, 255).round().astype(np.uint8)


def mouth_albedo() -> Bytes:
    """Map of the mouth (sRGB): blocks of columns for teeth with gaps, gums and tongue."""
    v, u = (np.mgrid[0:_SIZE, 0:_SIZE] + 0.5) / _SIZE
    teeth, gums, tongue = np.array([226, 216, 198.0]), np.array([176, 92, 92.0]), np.array([168, 86, 86.0])
    gap = 0.75 + 0.25 * _step(0.0, 0.12, np.abs((v * 16) % 1 - 0.5) * -1 + 0.5)
    furrow = 1 - 0.18 * np.exp(-(((u - 0.83) / 0.012) ** 2))
    tooth_or_gum = teeth * gap[..., None] + (gums - teeth * gap[..., None]) * _step(0.28, 0.36, u)[..., None]
    mouth = np.where((u < 0.66)[..., None], tooth_or_gum, tongue * furrow[..., None])
    return np.clip(mouth, 0, 255).round().astype(np.uint8)


def _step(low: float, high: float, values: Array) -> Array:
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
