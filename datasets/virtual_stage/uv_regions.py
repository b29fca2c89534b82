"""Position of each texel of the chart on the template head, and soft masks of the parts of the face.

Everything that is painted is a function of template positions (mm) and of the landmarks embedded in the head, so that
any head file, chart and map size shows the same features. Computed once for each head and size.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets import skin_mask
from mosar.datasets.polygons import inside
from mosar.models.head import Head
from mosar.models.head.morph import landmarks
from mosar.models.uv import chart, surface

Values = NDArray[np.float32]
_CHUNK = 100_000
"""Texels compared at once with all corners of an outline."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Texels of the skin's chart, n of them, in the order of ``inside_n``.

    ``inside_n``: flat texel numbers. ``nearest_hw``: for every texel, index into n of the nearest texel inside.
    ``position_n3``, ``normal_n3``: on the template head, mm. ``texel_n``: side of a texel on the template, mm.
    ``points_l3``: landmarks of the template, NaN where not embedded. ``areas``: masks (n), see :func:`atlas`.
    """

    size: int
    inside_n: NDArray[np.int64]
    nearest_hw: NDArray[np.int64]
    position_n3: NDArray[np.float64]
    normal_n3: NDArray[np.float64]
    texel_n: Values
    points_l3: NDArray[np.float64]
    areas: dict[str, Values]

    def map(self, values_n: NDArray[Any]) -> NDArray[Any]:
        """Values of the texels inside (n, ...) as a map (H, W, ...); texels outside take the nearest value inside."""
        return np.asarray(values_n)[self.nearest_hw]


@functools.lru_cache(maxsize=4)
def atlas(head: Head, size: int) -> Atlas:
    """The atlas of a head at a map size.

    Areas, soft masks in [0, 1]: ``lips``, ``brows``, ``eyelids`` (around the eyes), ``under_eyes``, ``cheeks``,
    ``nose``, ``nostrils``, ``forehead``, ``ears``, ``beard``, ``moustache``, ``chin``, ``neck``, ``pocket`` (inside the
    mouth and behind the lids), ``front`` (faces the viewer), ``lashes`` (rims of the lids). ``hairline`` is instead the
    signed height in mm over an average hairline, positive where hair grows.
    """
    from scipy.ndimage import distance_transform_edt

    texels = chart(head, size)
    inside = texels.triangle_hw.numpy() >= 0
    nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    place = np.full(inside.shape, -1)
    place[inside] = np.arange(inside.sum())
    template = torch.from_numpy(np.array(head.template_v3)).double()[None]
    points = surface(texels, head, template)
    position, normal = (x[0].permute(1, 2, 0).numpy()[inside] for x in (points.position_b3hw, points.normal_b3hw))
    marks = landmarks(head, template)[0].numpy().copy()
    marks[head.landmark_triangle_l < 0] = np.nan
    found = Atlas(
        size=size,
        inside_n=np.flatnonzero(inside),
        nearest_hw=place[nearest[0], nearest[1]],
        position_n3=position,
        normal_n3=normal,
        texel_n=_texel_sizes(points.position_b3hw[0].permute(1, 2, 0).numpy(), inside),
        points_l3=marks,
        areas={},
    )
    found.areas.update(_areas(found, head))
    return found


def smoothstep(low: float, high: float, values: NDArray[np.floating]) -> Values:
    """0 below ``low``, 1 above ``high``, smooth between; with ``low`` > ``high`` it falls instead of rising."""
    t = np.clip((np.asarray(values) - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def outline_distance(points_n3: NDArray[np.floating], outline_k3: NDArray[np.float64]) -> Values:
    """Signed distance (n), mm, to a closed outline in the frontal plane, positive inside; NaN corners are ignored."""
    polygon = outline_k3[~np.isnan(outline_k3[:, 0]), :2]
    if len(polygon) < 3:
        return np.full(len(points_n3), -1e3, np.float32)
    parts = np.array_split(points_n3[:, :2], len(points_n3) // _CHUNK + 1)
    return np.concatenate([_signed_distance(part, polygon) for part in parts])


def _signed_distance(points_n2: NDArray[np.floating], polygon_k2: NDArray[np.float64]) -> Values:
    """Signed distance (n) to a polygon, positive inside."""
    edge = np.roll(polygon_k2, -1, 0) - polygon_k2
    offset = points_n2[:, None] - polygon_k2
    along = np.clip((offset * edge).sum(-1) / np.maximum((edge**2).sum(-1), 1e-9), 0, 1)
    distance = np.linalg.norm(offset - along[..., None] * edge, axis=-1).min(1)
    return np.where(inside(points_n2, polygon_k2), distance, -distance).astype(np.float32)


def at(x: float, y: float, z: float) -> NDArray[np.float64]:
    """A point or an offset."""
    return np.array([x, y, z], np.float64)


def near(points_n3: NDArray[np.float64], centre_3: NDArray[np.float64], radii_mm: tuple[float, float, float]) -> Values:
    """A Gaussian bump (n) around a point."""
    return np.exp(-(((points_n3 - centre_3) / np.asarray(radii_mm)) ** 2).sum(-1)).astype(np.float32)


def _texel_sizes(position_hw3: NDArray[np.float64], inside: NDArray[np.bool_]) -> Values:
    steps = [np.linalg.norm(np.gradient(position_hw3, axis=axis), axis=-1) for axis in (0, 1)]
    size = np.clip(np.maximum(*steps), 0.01, 20).astype(np.float32)
    return cv2.medianBlur(size, 5)[inside]


def _areas(a: Atlas, head: Head) -> dict[str, Values]:
    p, marks = a.position_n3, a.points_l3
    front = smoothstep(0.0, 0.35, a.normal_n3[:, 2]) * smoothstep(-75, -45, p[:, 2])
    pocket = _vertex_area(a, head, _pockets(head))

    def inside(outline: tuple[int, ...], soft: float, grow: float = 0.0) -> Values:
        return smoothstep(-soft, soft, outline_distance(p, marks[list(outline)]) + grow) * front

    def both(side: Callable[[float], Values]) -> Values:
        return side(1.0) + side(-1.0)

    left_eye, right_eye = (np.nanmean(marks[list(e)], 0) for e in (skin_mask.LEFT_EYE, skin_mask.RIGHT_EYE))
    between = abs(left_eye[0] - right_eye[0])
    mouth = np.nanmean(marks[list(skin_mask.LIPS)], 0)
    nose, chin = _mark(marks, 1, mouth + at(0, 35, 15)), _mark(marks, 152, mouth - at(0, 45, 0))
    eyes = np.maximum(inside(skin_mask.LEFT_EYE, 4, 5), inside(skin_mask.RIGHT_EYE, 4, 5))
    lips = inside(skin_mask.LIPS, 1.0) * (1 - pocket)
    areas = {
        "front": front,
        "pocket": pocket,
        "lips": lips,
        "brows": np.maximum(inside(skin_mask.LEFT_BROW, 2.2), inside(skin_mask.RIGHT_BROW, 2.2)),
        "eyelids": eyes,
        "under_eyes": both(lambda s: near(p, (left_eye if s > 0 else right_eye) + at(0, -14, 0), (15, 7, 25))),
        "nose": near(p, nose + at(0, 6, -6), (17, 20, 25)),
        "nostrils": both(lambda s: near(p, nose + at(s * 9.0, -7, -6), (5, 4, 8))),
        "cheeks": both(lambda s: near(p, at(s * 0.72 * between, nose[1] - 2, nose[2] - 45), (22, 20, 35))),
        "chin": near(p, chin + at(0, 12, 0), (18, 14, 25)),
        "forehead": smoothstep(left_eye[1] + 22, left_eye[1] + 36, p[:, 1]) * front,
        "ears": _vertex_area(a, head, head.region("ears")) if head.region("ears").any() else _ear_guess(p, left_eye),
        "neck": smoothstep(chin[1] - 4, chin[1] - 16, p[:, 1] + 0.35 * np.clip(-p[:, 2] - 10, 0, 100)),
    }
    areas |= _beard(a, front, lips, mouth, chin, between) | {"hairline": hairline(p, left_eye), "lashes": _lashes(a)}
    return {name: np.clip(value, -1e3, 1e3).astype(np.float32) for name, value in areas.items()}


def hairline(points_n3: NDArray[np.floating], eye_3: NDArray[np.float64]) -> Values:
    """Height (n), mm, of template points over an average hairline: positive where hair grows.

    The line is high in the middle of the forehead, falls at the temples and in front of the ears, and runs behind them
    to the nape. ``eye_3``: the centre of an eye.
    """
    side, forward, height = np.abs(points_n3[:, 0]), points_n3[:, 2] - eye_3[2], points_n3[:, 1] - eye_3[1]
    middle = 66 - 0.010 * side**2 * (1 - smoothstep(35, 60, side))
    temple = 34 - 1.1 * np.clip(-25 - forward, 0, 60)
    back = np.where(forward < -100, -50.0, temple)
    line = np.where(side < 42, middle, middle + (back - middle) * smoothstep(42, 60, side))
    line = line + (-55 - line) * smoothstep(-85, -110, forward)
    return np.asarray(height - line, np.float32)


def eye_level(a: Atlas) -> NDArray[np.float64]:
    """Point between the eyes of the template, at x = 0."""
    return np.asarray(np.nanmean(a.points_l3[[33, 133, 263, 362]], 0) * [0, 1, 1])


def _beard(
    a: Atlas, front: Values, lips: Values, mouth: NDArray[np.float64], chin: NDArray[np.float64], between: float
) -> dict[str, Values]:
    """The areas ``beard`` (jaw, cheeks, under the chin) and ``moustache``."""
    p = a.position_n3
    side = np.abs(p[:, 0])
    jaw = smoothstep(mouth[1] + 38, mouth[1] - 2, p[:, 1] + 0.30 * np.clip(0.62 * between - side, -60, 20))
    under = smoothstep(chin[1] - 42, chin[1] - 18, p[:, 1])
    cheek_line = smoothstep(0.34 * between, 0.62 * between, side + 0.55 * np.clip(mouth[1] - 4 - p[:, 1], 0, 60))
    cheek_line = np.maximum(cheek_line, smoothstep(mouth[1] - 9, mouth[1] - 17, p[:, 1]))
    beard = jaw * under * cheek_line * smoothstep(-88, -68, p[:, 2]) * (1 - lips)
    moustache = near(p, mouth + at(0, 13.5, 4), (27, 6.5, 30)) * (1 - lips) * front
    return {"beard": beard, "moustache": np.clip(1.4 * moustache, 0, 1)}


def _lashes(a: Atlas) -> Values:
    """The rims of the lids (n), the upper ones stronger than the lower."""
    found = np.zeros(len(a.position_n3), np.float32)
    for outline in (skin_mask.LEFT_EYE, skin_mask.RIGHT_EYE):
        corners = a.points_l3[list(outline)]
        off = outline_distance(a.position_n3, corners).astype(np.float64)
        upper = smoothstep(-3, 2, a.position_n3[:, 1] - np.nanmean(corners[:, 1]))
        found = np.maximum(found, np.exp(-((off / 1.5) ** 2)) * (0.35 + 0.65 * upper))
    return found * smoothstep(-60, -40, a.position_n3[:, 2])


def _ear_guess(p: NDArray[np.float64], eye: NDArray[np.float64]) -> Values:
    """Ears of a head whose file marks none: the outermost parts of the sides, at the height of eyes to mouth."""
    return (
        smoothstep(70, 76, np.abs(p[:, 0]))
        * smoothstep(eye[1] - 75, eye[1] - 60, p[:, 1])
        * smoothstep(eye[1] + 25, eye[1] + 12, p[:, 1])
        * smoothstep(-120, -105, p[:, 2])
    )


def _mark(marks_l3: NDArray[np.float64], index: int, otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    return otherwise if np.isnan(marks_l3[index, 0]) else marks_l3[index]


def _pockets(head: Head) -> NDArray[np.bool_]:
    """Skin vertices (V) from which hardly any ray reaches the outside: in the mouth and the eye sockets."""
    import trimesh

    mesh = trimesh.Trimesh(head.template_v3, head.triangles_f3, process=False)
    normals = np.asarray(mesh.vertex_normals)
    start = head.template_v3 + 0.05 * normals
    rng = np.random.default_rng(0)
    open_v = np.zeros(len(start), np.float64)
    count = 24
    for _ in range(count):
        way = rng.normal(size=normals.shape)
        way = way / np.linalg.norm(way, axis=1, keepdims=True) + 1.01 * normals
        open_v += ~mesh.ray.intersects_any(start, way)
    skin = np.zeros(len(start), bool)
    skin[np.unique(head.triangles_f3[head.material_f == 0])] = True
    return skin & (open_v / count < 0.12)


def _vertex_area(a: Atlas, head: Head, member_v: NDArray[np.bool_]) -> Values:
    """Interpolate a vertex mask to the texels."""
    texels = chart(head, a.size)
    triangle = texels.triangle_hw.numpy().ravel()[a.inside_n]
    weights = texels.barycentric_hw3.numpy().reshape(-1, 3)[a.inside_n]
    return (member_v[head.triangles_f3[triangle]] * weights).sum(-1).astype(np.float32)
