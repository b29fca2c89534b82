"""Glasses: frames with full, half or no rims, and clear lenses."""

import numpy as np

from mosar.datasets.virtual_stage.geometry import Body, Prop, tube
from mosar.datasets.virtual_stage.subjects import HALF_RIMS, NO_RIMS, THICK_RIMS, Subject
from mosar.models.head import Head

_METAL = ((0.35, 0.27, 0.15), (0.3, 0.3, 0.3), (0.08, 0.075, 0.07), (0.015, 0.015, 0.015))
"""Linear albedos."""


def glasses(head: Head, subject: Subject, body: Body) -> Prop:
    """Frames in front of the eyes with arms to the ears; the lenses are clear and not modelled."""
    if not subject.traits["glasses"]:
        return Prop.none()
    rng = np.random.default_rng(subject.seed + 90)
    texels = head.triangles_f3[head.landmark_triangle_l.clip(0)]
    marks = np.einsum("lcx,lc->lx", body.vertices_v3[texels], head.landmark_barycentric_l3)
    left = marks[[263, 362, 386, 374]].mean(0)
    right = marks[[33, 133, 159, 145]].mean(0)
    bridge = marks[6] if head.landmark_triangle_l[6] >= 0 else (left + right) / 2
    radius, tall, square, bar = rng.uniform(21, 27), rng.uniform(0.72, 1.0), rng.uniform(2, 4), rng.uniform(0.7, 2.0)
    rims = subject.traits["rims"]
    if rims != THICK_RIMS:
        tall, bar = 0.85 * tall, 0.35 + 0.4 * (bar - 0.7)
    front = float(max(bridge[2] + 3, left[2] + 14, right[2] + 14))
    angle = np.linspace(-0.1 * np.pi, 1.1 * np.pi, 25) if rims == HALF_RIMS else np.linspace(0, 2 * np.pi, 41)
    round_x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / square)
    round_y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / square)
    lines = []
    for eye, side in ((left, 1.0), (right, -1.0)):
        centre = np.array([eye[0] + side * 1.5, eye[1] - 3, front])
        curve = 0.0035 * (round_x * radius + side * 18) ** 2
        ring = centre + np.stack([round_x * radius, round_y * radius * tall, -curve], -1)
        if rims != NO_RIMS:
            lines.append(ring)
        hinge = centre + np.array([side * radius, 0.55 * radius * tall, -0.0035 * (radius + 18) ** 2])
        wide = float(np.abs(body.vertices_v3[np.abs(body.vertices_v3[:, 1] - eye[1]) < 12, 0]).max())
        bend = [side * min(wide, abs(hinge[0]) + 9), hinge[1], hinge[2] - 40]
        # Without rims the arms begin on the lenses, to which they are screwed.
        start = [hinge - [side * 5, 0, -2]] if rims == NO_RIMS else []
        lines.append(np.array([*start, hinge, bend, [side * 0.9 * wide, eye[1] + 4, -92]]))
    reach = 4.5 if rims == NO_RIMS else 1.5
    inner = [np.array([e[0] - s * (radius - reach), e[1] + 2, front]) for e, s in ((left, 1.0), (right, -1.0))]
    lines.append(np.array([inner[0], (inner[0] + inner[1]) / 2 + [0, 3, 2], inner[1]]))
    shade = np.array(
        [[0.012, 0.012, 0.012], [0.05, 0.025, 0.012], [0.35, 0.27, 0.15], [0.3, 0.3, 0.3], [0.02, 0.03, 0.07]]
    )
    colour = shade[rng.integers(len(shade))] if rims == THICK_RIMS else np.array(_METAL[rng.integers(len(_METAL))])
    return Prop.join([tube(line, bar * (1.0 if len(line) > 4 else 0.9), colour) for line in lines])
