"""Glasses: full, half and missing rims of plastic or metal, with clear lenses."""

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.virtual_stage.geometry import Body, Prop, tube
from mosar.datasets.virtual_stage.subjects import Subject
from mosar.models.head import Head

_KINDS = {"plastic": 0.35, "metal": 0.3, "half": 0.15, "rimless": 0.2}
"""Kind of frame -> share. ``half``: metal around the upper half of the lenses."""
_PLASTIC = ((0.012, 0.012, 0.012), (0.05, 0.025, 0.012), (0.02, 0.03, 0.07), (0.12, 0.03, 0.02))
_METAL = ((0.35, 0.27, 0.15), (0.3, 0.3, 0.3), (0.08, 0.075, 0.07), (0.015, 0.015, 0.015))
"""Linear albedos."""


def glasses(head: Head, subject: Subject, body: Body) -> Prop:
    """Frames in front of the eyes with arms to the ears; the lenses are clear and not modelled."""
    if not subject.traits["glasses"]:
        return Prop.none()
    rng = np.random.default_rng(subject.seed + 90)
    texels = head.triangles_f3[head.landmark_triangle_l.clip(0)]
    marks = np.einsum("lcx,lc->lx", body.vertices_v3[texels], head.landmark_barycentric_l3)
    eyes = marks[[263, 362, 386, 374]].mean(0), marks[[33, 133, 159, 145]].mean(0)
    nose = marks[6] if head.landmark_triangle_l[6] >= 0 else (eyes[0] + eyes[1]) / 2
    kind = str(rng.choice(list(_KINDS), p=list(_KINDS.values())))
    radius, square = rng.uniform(21, 27), rng.uniform(2, 4)
    tall = rng.uniform(0.65, 1.0) if kind == "plastic" else rng.uniform(0.5, 0.95)
    bar = rng.uniform(0.8, 2.0) if kind == "plastic" else rng.uniform(0.35, 0.9)
    front = float(max(nose[2] + 3, eyes[0][2] + 14, eyes[1][2] + 14))
    rims, arms, inner = [], [], []
    for eye, side in zip(eyes, (1.0, -1.0), strict=True):
        centre = np.array([eye[0] + side * 1.5, eye[1] - 3, front])
        rims.append(_rim(centre, side, radius, tall, square, whole=kind != "half"))
        hinge = centre + np.array([side * radius, 0.55 * radius * tall, -0.0035 * (radius + 18) ** 2])
        wide = float(np.abs(body.vertices_v3[np.abs(body.vertices_v3[:, 1] - eye[1]) < 12, 0]).max())
        bend = [side * min(wide, abs(hinge[0]) + 9), hinge[1], hinge[2] - 40]
        # Without rims the arms begin on the lenses, to which they are screwed.
        start = hinge - np.array([side * 5, 0, -2]) if kind == "rimless" else hinge
        arms.append(np.array([start, hinge, bend, [side * 0.9 * wide, eye[1] + 4, -92]][kind != "rimless" :]))
        reach = 4.5 if kind == "rimless" else 1.5
        inner.append(np.array([eye[0] - side * (radius - reach), eye[1] + 2, front]))
    bridge = np.array([inner[0], (inner[0] + inner[1]) / 2 + [0, 3, 2], inner[1]])
    shades = _PLASTIC if kind == "plastic" else _METAL
    shade = shades[rng.integers(len(shades))]
    drawn = [] if kind == "rimless" else [tube(rim, bar, shade) for rim in rims]
    return Prop.join([*drawn, *(tube(line, 0.9 * bar, shade) for line in (*arms, bridge))])


def _rim(
    centre_3: NDArray[np.float64], side: float, radius: float, tall: float, square: float, whole: bool
) -> NDArray[np.float64]:
    """Outline (n, 3) of a lens, a superellipse, or its upper part, in mm; ``side``: 1 left, -1 right."""
    angle = np.linspace(0, 2 * np.pi, 41) if whole else np.linspace(-0.1 * np.pi, 1.1 * np.pi, 25)
    x, y = (np.sign(f(angle)) * np.abs(f(angle)) ** (2 / square) for f in (np.cos, np.sin))
    curve = 0.0035 * (x * radius + side * 18) ** 2
    return centre_3 + np.stack([x * radius, y * radius * tall, -curve], -1)
