"""Brows, lashes, beards and moustaches as strands. They count as skin, because the skin's maps contain them too."""

import dataclasses

import numpy as np
import torch

from mosar.datasets import skin_mask
from mosar.datasets.virtual_stage.geometry import FUZZ, Body, Prop, Strands
from mosar.datasets.virtual_stage.hair import colour
from mosar.datasets.virtual_stage.noise import bumps, gradient_noise
from mosar.datasets.virtual_stage.quantize import POINT_BITS, quantize
from mosar.datasets.virtual_stage.strands import Floats, Growth, grow, scatter
from mosar.datasets.virtual_stage.subjects import Subject
from mosar.datasets.virtual_stage.uv_regions import Atlas, outline_distance, smoothstep
from mosar.models.head import Head, lashes

_UPPER = {1.0: (362, 398, 384, 385, 386, 387, 388, 466, 263), -1.0: (133, 173, 157, 158, 159, 160, 161, 246, 33)}
_LOWER = {1.0: (362, 382, 381, 380, 374, 373, 390, 249, 263), -1.0: (133, 155, 154, 153, 145, 144, 163, 7, 33)}
"""Landmarks on the rims of the lids, from the inner corner outwards, by side."""
_LONG_MM = 6.0  # length of the lashes in a head file


def facial_hair(head: Head, a: Atlas, subject: Subject, body: Body) -> list[tuple[str, Prop]]:
    """Meshes of all facial hair, each with its class (:data:`mosar.datasets.schema.CLASSES`)."""
    found = [("brows", _brows(head, a, subject, body))]
    found += [("eyes", lashes) for lashes in _lashes(head, subject, body)]
    if max(subject.traits["beard"], subject.traits["moustache"]) > 0:
        found.append(("facial_hair", _beard(head, a, subject, body)))
    return [(name, dataclasses.replace(hairs, material=FUZZ).ribbons(body.eye_3)) for name, hairs in found]


def _still(points_n3: Floats) -> Floats:
    return np.zeros_like(points_n3)


def _front(head: Head) -> Floats:
    skin = head.triangles_f3[head.material_f == 0]
    return np.asarray(skin[head.template_v3[skin][..., 2].mean(1) > -90])


def _brows(head: Head, a: Atlas, subject: Subject, body: Body) -> Strands:
    """Brows within the area of the painted ones: hairs point outwards and down, near the nose upwards."""
    rng = np.random.default_rng(subject.seed + 98)
    outlines = [a.points_l3[list(o)] for o in (skin_mask.LEFT_BROW, skin_mask.RIGHT_BROW)]
    corners = np.concatenate(outlines)
    low, high = np.nanmin(corners, 0) - 4, np.nanmax(corners, 0) + 4
    faces = _front(head)
    centres = head.template_v3[faces].mean(1)
    faces = faces[(centres[:, 1] > low[1]) & (centres[:, 1] < high[1]) & (centres[:, 2] > -60)]
    thick = subject.traits["brows"]

    def dense(rest: Floats) -> Floats:
        distance = np.maximum(*(outline_distance(rest, o) for o in outlines))
        return np.asarray(smoothstep(-1.6, 1.4, distance + 1.2 * thick - 1.2) * (0.35 + 0.65 * thick))

    roots = scatter(head, body, faces, 2600, dense, rng)
    inner = float(np.nanmin(np.abs(corners[:, 0])))
    across = smoothstep(inner, inner + 14, np.abs(roots.rest_s3[:, 0]))[:, None]
    way = np.sign(roots.rest_s3[:, :1]) * np.array([1.0, 0, 0]) * (0.25 + across) + np.array([0, 1.0, 0]) * (
        0.9 - 1.1 * across
    )
    length = rng.uniform(5, 9, len(roots)) * (0.6 + 0.4 * thick)
    bend = way + 0.3 * rng.normal(size=way.shape) + 0.3 * bumps(roots.rest_s3, 5, subject.seed + 99)
    points, out = grow(roots, length, np.full(len(roots), 0.5), _still, None,
                       Growth(0.0, 0.5, 0.0, 0.05, 4), bend, rng)  # fmt: skip
    return colour(subject, roots, points, out, 0.4 * body.fineness**-0.6, 0.8, rng, 0.7)


def _beard(head: Head, a: Atlas, subject: Subject, body: Body) -> Strands:
    """Beard that points down on jaw and cheeks, and moustache that points to the sides; the seed decides the length."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(subject.seed + 100)
    t, lips = subject.traits, a.points_l3[list(skin_mask.LIPS)]
    mouth, nose = np.nanmean(lips, 0), a.points_l3[1]
    faces = _front(head)
    centres = head.template_v3[faces].mean(1)
    faces = faces[(centres[:, 1] < nose[1] + 35) & (centres[:, 1] > nose[1] - 110) & (centres[:, 2] > -85)]
    texels = cKDTree(a.position_n3)

    def dense(rest: Floats) -> Floats:
        index = texels.query(rest)[1]
        beard = a.areas["beard"][index] * (t["beard"] > 0)
        lip = a.areas["moustache"][index] * (t["moustache"] > 0)
        ragged = np.clip(np.maximum(beard, lip) + 0.25 * gradient_noise(rest, 9, subject.seed + 101), 0, 1)
        return smoothstep(0.25, 0.8, ragged) * max(t["beard"], t["moustache"])

    roots = scatter(head, body, faces, 9000, dense, rng)
    longest = np.exp(rng.uniform(np.log(2.5), np.log(22)))
    under = roots.rest_s3[:, 1] > mouth[1] + 4
    low = smoothstep(mouth[1] + 5, mouth[1] - 35, roots.rest_s3[:, 1])
    length = np.where(under, min(longest, 9.0), longest * (0.35 + 0.65 * low)) * rng.uniform(0.6, 1.2, len(roots))
    sideways = np.sign(roots.rest_s3[:, :1]) * np.array([1.0, 0, 0]) * np.where(under, 0.9, 0.05)[:, None]
    bend = sideways + np.array([0, -0.55, 0.1]) + 0.35 * bumps(roots.rest_s3, 7, subject.seed + 102)
    points, out = grow(roots, length, np.full(len(roots), 0.5), _still, None,
                       Growth(0.0, 0.45, 0.1, 0.2, 5), bend, rng)  # fmt: skip
    return colour(subject, roots, points, out, 0.45 * body.fineness**-0.6, 0.7, rng, 0.9)


def _lashes(head: Head, subject: Subject, body: Body) -> list[Strands]:
    """Rows of curved hairs along the rims of the lids: the head's own lashes, else hairs along the rims' landmarks."""
    rng = np.random.default_rng(subject.seed + 103)
    long = rng.uniform(5.5, 8.5) * (1.15 - 0.3 * subject.male)
    own = lashes.hairs(head, torch.from_numpy(body.vertices_v3)[None], long / _LONG_MM)[0].numpy()
    rows = []
    for exact in [own] if len(own) else _rims(head, body, long, rng):
        points = quantize(exact, POINT_BITS).astype(np.float32)
        up = np.sign(points[:, -1, 1] - points[:, 0, 1])[:, None, None]
        out = np.broadcast_to(np.array([0, 0.3, 0]) * up + np.array([0, 0, 0.95]), points.shape)
        albedo = np.broadcast_to(0.3 * subject.hair + 0.004, points.shape)
        width = np.full(len(points), 0.16 * body.fineness**-0.6)
        rows.append(Strands(points, albedo, np.full(points.shape, 0.7), out, width, FUZZ))
    return rows


def _rims(head: Head, body: Body, long: float, rng: np.random.Generator) -> list[Floats]:
    """Hairs (s 5 3) along each rim's landmarks; the upper ones are longer."""
    texels = head.triangles_f3[head.landmark_triangle_l.clip(0)]
    marks = np.einsum("lcx,lc->lx", body.vertices_v3[texels], head.landmark_barycentric_l3)
    known = head.landmark_triangle_l >= 0
    rows = []
    for rims, length, count, up in ((_UPPER, long, 90, 1.0), (_LOWER, 0.5 * long, 50, -1.0)):
        for side, rim in rims.items():
            line = marks[[i for i in rim if known[i]]]
            if len(line) < 4:
                continue
            t = np.sort(rng.uniform(0.08, 1, count))
            place = np.stack([np.interp(t, np.linspace(0, 1, len(line)), line[:, i]) for i in range(3)], -1)
            fan = side * (t - 0.35)[:, None] * np.array([1.1, 0, 0])
            start = fan + np.array([0, 0.1 * up, 1.0]) + rng.normal(0, 0.12, place.shape)
            end = fan + np.array([0, 1.1 * up, 0.5]) + rng.normal(0, 0.12, place.shape)
            s = np.linspace(0, 1, 5)[None, :, None]
            size = length * rng.uniform(0.7, 1.0, (count, 1, 1)) * (0.75 + 0.5 * t)[:, None, None]
            rows.append(place[:, None] + size * 0.75 * (s * start[:, None] * (1 - 0.5 * s) + 0.5 * s**2 * end[:, None]))
    return rows
