"""Hair: a shell over the scalp, a curtain behind the face, and what strands look like."""

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.virtual_stage.atlas import Atlas, hairline, smoothstep
from mosar.datasets.virtual_stage.noise import bumps, fractal_noise, gradient_noise
from mosar.datasets.virtual_stage.people import Person
from mosar.datasets.virtual_stage.things import HAIR, Body, Mesh, subdivide
from mosar.models.head import Head

STYLES = {
    "bald": 0.0,
    "shaved": 0.0,
    "tied": 5.0,
    "short": 14.0,
    "long": 17.0,
    "afro": 38.0,
}
"""Thickness of the hair, mm."""


def scalp_hair(head: Head, a: Atlas, person: Person, body: Body) -> Mesh:
    """A shell over the scalp, sinking into the skin at the hairline."""
    thick = STYLES[person.style]
    rest = np.asarray(head.template_v3, np.float64)
    eye = _eye_level(a)
    skin = np.zeros(len(rest), bool)
    skin[np.unique(head.triangles_f3[head.material_f == 0])] = True
    ears = (np.abs(rest[:, 0]) > 72) & (rest[:, 1] > eye[1] - 70) & (rest[:, 1] < eye[1] + 16) & (rest[:, 2] > -125)
    use = skin & (hairline(rest, eye) > -30) & ~(ears | head.region("ears")) & (thick > 0)
    faces = head.triangles_f3[use[head.triangles_f3].all(1)]
    if not len(faces):
        return Mesh.none()
    values = np.concatenate([body.vertices_v3, body.normals_v3, rest, body.shadow_v3], 1)
    values, faces = subdivide(values, faces)
    place, normal, rest, shadow = np.split(values, [3, 6, 9], 1)
    middle = smoothstep(60, 15, np.abs(rest[:, 0])) * smoothstep(-40, 10, rest[:, 2])
    line = hairline(rest, eye) - 26 * person.traits["receding"] * middle
    line = line + 9 * gradient_noise(rest, 14, person.seed + 22) + 6 * gradient_noise(rest, 6, person.seed + 86)
    grows = (smoothstep(-6, 24, line) ** 0.8)[:, None]
    rng = np.random.default_rng(person.seed + 80)
    bulk = 1 + 0.9 * fractal_noise(rest, 45, 2, person.seed + 81)[:, None]
    rough = {"afro": 6.0, "short": 3.0, "long": 2.0}.get(person.style, 0.8)
    tufts = rough * fractal_noise(rest, 11, 3, person.seed + 82)[:, None]
    up = np.array([0.0, 1.0, 0.0]) * smoothstep(20, 70, rest[:, 1:2] - eye[1]) * 0.6
    height = thick * rng.uniform(0.7, 1.3) * bulk * grows + tufts * grows - 1.5 * (1 - grows)
    way = normal + up
    place = place + way / np.linalg.norm(way, axis=1, keepdims=True) * height
    return Mesh(place, faces, HAIR, rest, shadow)


def long_hair(head: Head, a: Atlas, person: Person, body: Body) -> Mesh:
    """A curtain behind the face, from the temples down to the shoulders, both sides of it."""
    if person.style != "long":
        return Mesh.none()
    rng = np.random.default_rng(person.seed + 87)
    eye = _eye_level(a)
    level = np.abs(head.template_v3[:, 1] - eye[1] - 20) < 25
    skull = body.vertices_v3[level]
    wide, front, back = (float(x) for x in (np.abs(skull[:, 0]).max(), skull[:, 2].max(), skull[:, 2].min()))
    middle, deep = 0.375 * front + 0.625 * back, (front - back) / 2
    length, opening, fall = rng.uniform(70, 190), rng.uniform(1.0, 1.35), rng.uniform(2, 12)
    around, down = np.meshgrid(np.linspace(opening, 2 * np.pi - opening, 60), np.linspace(0, 1, 28))
    height = eye[1] + 45 - down * (length + 45)
    thick = 7 + fall * np.sin(np.pi * np.clip(down * 1.3, 0, 1)) + 7 * down
    rest = np.stack([90 * np.sin(around), height, 100 * np.cos(around) - 70], -1).reshape(-1, 3)
    locks = 3.5 * fractal_noise(rest * np.array([1, 0.15, 1]), 16, 2, person.seed + 88).reshape(around.shape)
    edge = smoothstep(0, 0.5, np.minimum(around - opening, 2 * np.pi - opening - around))
    out = 1 + (thick + locks) / 90 * (0.4 + 0.6 * edge)
    ragged = 18 * gradient_noise(rest, 12, person.seed + 89).reshape(around.shape) * down**3
    place = np.stack([wide * out * np.sin(around), height + ragged, middle + deep * out * np.cos(around)], -1)
    rows, columns = around.shape
    index = np.arange(rows * columns).reshape(rows, columns)
    a0, b0, c0, d0 = (x.ravel() for x in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    faces = np.concatenate([np.stack([a0, b0, c0], -1), np.stack([b0, d0, c0], -1)])
    inner = place.reshape(-1, 3) * np.array([0.985, 1, 0.985])
    both = np.concatenate([place.reshape(-1, 3), inner])
    shade = np.repeat([[0.85], [0.4]], len(inner), 0) * np.ones((1, 3))
    return Mesh(both, np.concatenate([faces, faces[:, ::-1] + len(inner)]), HAIR, np.concatenate([rest, rest]), shade)


def strands(
    person: Person, rest_n3: NDArray[np.float64]
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """Albedo, specular, openness and bump of hair (n) at template positions: strands run down from the crown."""
    seed = person.seed + 83
    if person.style == "afro":
        flow = rest_n3 / 2.2
    else:
        around = np.arctan2(rest_n3[:, 0], rest_n3[:, 2] + 70) * 70
        run = np.hypot(rest_n3[:, 1], rest_n3[:, 2]) * 0.08 + 3 * gradient_noise(rest_n3, 40, seed)
        flow = np.stack([around + 5 * gradient_noise(rest_n3, 25, seed + 1), run, rest_n3[:, 1] * 0.06], -1) / 1.3
    fine = 0.7 * gradient_noise(flow, 1.0, seed + 2) + 0.6 * gradient_noise(flow * 0.35, 1.0, seed + 3)
    deep = np.clip(0.82 + 0.7 * fine, 0.25, 1)
    albedo = person.hair * (0.9 + 0.6 * np.clip(fine, -1, 1)[:, None])
    return albedo, np.clip(0.1 + 0.15 * fine, 0.02, 0.5), deep, 0.22 * bumps(flow, 1.0, seed + 4)


def _eye_level(a: Atlas) -> NDArray[np.float64]:
    """Between the eyes of the template."""
    return np.asarray(np.nanmean(a.points_l3[[33, 133, 263, 362]], 0) * [0, 1, 1])
