"""Hats: knitted caps, peaked caps and scarves, as shells around the head."""

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.virtual_stage.geometry import CLOTH, Body, Prop, subdivide
from mosar.datasets.virtual_stage.noise import fractal_noise, gradient_noise
from mosar.datasets.virtual_stage.subjects import Subject
from mosar.datasets.virtual_stage.uv_regions import Atlas, eye_level, smoothstep
from mosar.models.head import Head

SHARE = 0.09
"""Share of the people who wear one."""


def kind(subject: Subject) -> str:
    """The person's hat: none, knitted, peaked or scarf."""
    rng = np.random.default_rng(subject.seed + 104)
    if rng.random() >= SHARE:
        return "none"
    return str(rng.choice(["knitted", "peaked", "scarf"] if subject.male < 0.5 else ["knitted", "peaked"]))


def hat(head: Head, a: Atlas, subject: Subject, body: Body) -> Prop:
    """The hat's shell, and the peak of a peaked one."""
    what = kind(subject)
    if what == "none":
        return Prop.none()
    rng = np.random.default_rng(subject.seed + 105)
    colour = np.clip(np.exp(rng.uniform(np.log(0.015), np.log(0.6))) * np.exp(rng.normal(0, 0.4, 3)), 0.01, 0.8)
    rest, eye = np.asarray(head.template_v3, np.float64), eye_level(a)
    skin = np.zeros(len(rest), bool)
    skin[np.unique(head.triangles_f3[head.material_f == 0])] = True
    edge = rim(a, subject, rest)
    faces = head.triangles_f3[(skin & (edge > -14))[head.triangles_f3].all(1)]
    values = np.concatenate([body.vertices_v3, body.normals_v3, rest, body.shadow_v3, edge[:, None]], 1)
    finer, faces = subdivide(values, faces)
    place, normal, pattern, shadow, over = np.split(finer, [3, 6, 9, 12], 1)
    inside = smoothstep(-1.5, 1.5, over + 1.5 * gradient_noise(pattern, 18, subject.seed + 106)[:, None])
    crown = smoothstep(30, 95, pattern[:, 1:2] - eye[1])
    thick = {"knitted": 10.0, "peaked": 9.0, "scarf": 7.0}[what] + rng.uniform(2, 12) * crown
    folds = 1.5 * fractal_noise(pattern * [1, 0.6, 1], 22, 2, subject.seed + 107)[:, None]
    place = place + normal * ((thick + folds) * inside - 3 * (1 - inside))
    weave = np.ones(len(pattern))
    if what == "knitted":
        weave = 0.8 + 0.2 * np.sin(np.arctan2(pattern[:, 0], pattern[:, 2] + 70) * 70 * 2 * np.pi / 5)
    shell = Prop.make(place, faces, CLOTH, colour * weave[:, None], shadow, pattern)
    return Prop.join([shell, _peak(place[inside[:, 0] > 0.5], colour)]) if what == "peaked" else shell


def rim(a: Atlas, subject: Subject, rest_n3: NDArray[np.floating]) -> NDArray[np.float64]:
    """Height (n), mm, of template points above the rim of the person's hat; -1000 without a hat."""
    what = kind(subject)
    if what == "none":
        return np.full(len(rest_n3), -1e3)
    height, forward = rest_n3[:, 1] - eye_level(a)[1], rest_n3[:, 2]
    if what == "scarf":
        face = np.hypot(rest_n3[:, 0] / 72, (height + 22) / 88)
        return np.where(forward > -75, 60 * (face - 1), 40.0)
    low = np.random.default_rng(subject.seed + 108).uniform(34, 46)
    return np.asarray(height - low - 0.32 * np.clip(forward + 20, -130, 60), np.float64)


def _peak(shell_n3: NDArray[np.floating], colour: NDArray[np.floating]) -> Prop:
    """A curved board in front of the forehead."""
    front = shell_n3[shell_n3[:, 2] > shell_n3[:, 2].max() - 25]
    level = float(front[:, 1].min())
    ahead = float(np.quantile(front[:, 2], 0.95))
    turn = np.linspace(-1.05, 1.05, 24)
    out = np.linspace(0, 1, 6)[:, None]
    x = 72 * np.sin(turn) * (1 + 0.02 * out)
    z = ahead - 62 + 66 * np.cos(turn) + 62 * out * np.cos(turn) ** 0.7
    y = level + 4 - 14 * out - 0.0028 * x**2
    points = np.stack([x, y, z], -1)
    both = np.concatenate([points.reshape(-1, 3), points.reshape(-1, 3) - [0, 2, 0]])
    index = np.arange(x.size).reshape(x.shape)
    a, b, c, d = (i.ravel() for i in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    faces = np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)])
    return Prop.make(both, np.concatenate([faces, faces[:, ::-1] + x.size]), CLOTH, colour)
