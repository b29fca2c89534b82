"""A hand in front of the face: a palm with bent fingers."""

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.virtual_stage.geometry import HAND, Prop, tube
from mosar.datasets.virtual_stage.strands import Hull
from mosar.datasets.virtual_stage.subjects import Subject, skin_tone

SHARE = 0.04
"""Share of the captures that show a hand."""

_FINGERS = ((-30.0, 8.0, 62.0, 8.5), (-10.0, 14.0, 72.0, 8.8), (10.0, 12.0, 68.0, 8.5), (29.0, 4.0, 54.0, 7.5))
"""Position on the palm (across, along), length, radius; mm."""


def hand(subject: Subject, hull: Hull, rng: np.random.Generator) -> Prop:
    """A hand on the face's hull at chin, cheek or brow, or an empty mesh."""
    if rng.random() >= SHARE:
        return Prop.none()
    side = rng.choice([-1.0, 1.0])
    target = np.array([side * rng.uniform(35, 65), rng.choice([-105.0, -85.0, 40.0]) + rng.normal(0, 8), 60.0])
    way = target - hull.centre_3
    reach, way = hull.radius((hull.centre_3 + way)[None])
    contact = hull.centre_3 + way[0] * (reach[0] + rng.uniform(8, 20))
    across = np.array([np.cos(0.6), side * np.sin(0.6), 0.0])
    along = np.cross(way[0], across)
    along /= np.linalg.norm(along)
    along *= np.sign(along[1]) * rng.choice([1.0, 1.0, -1.0])
    across = np.cross(along, way[0])
    frame = np.stack([across, along, way[0]])
    colour = np.clip(skin_tone(subject.tone), 0.01, 0.9) * [1.0, 0.97, 0.97]
    curl = rng.uniform(0.1, 0.5)
    parts = [_palm(colour)]
    for x, y, length, radius in _FINGERS:
        parts.append(_finger(np.array([x, y + 30, 0.0]), np.array([x * 0.004, 1.0, 0.0]), length, radius, curl, colour))
    thumb = np.array([-34.0, -20.0, 0.0]), np.array([-0.75, 0.7, 0.0])
    parts.append(_finger(*thumb, 50, 9.5, curl, colour))
    whole = Prop.join(parts)
    place = contact + (whole.vertices_x3 - [0, 30, 0]) @ frame
    mirrored = np.linalg.det(frame) < 0
    faces = whole.triangles_g3[:, ::-1] if mirrored else whole.triangles_g3
    return Prop.make(place, faces, HAND, colour)


def _finger(
    start: NDArray[np.float64], way: NDArray[np.float64], length: float, radius: float, curl: float,
    colour: NDArray[np.float64],
) -> Prop:  # fmt: skip
    """A finger that bends towards the face, with three knuckles, thinner towards its round tip."""
    way = way / np.linalg.norm(way)
    t = np.concatenate([np.linspace(0, 0.9, 12), 0.9 + 0.1 * np.sin(np.linspace(0.2, 1.0, 5) * np.pi / 2)])
    bend = curl * t**2
    line = start + length * (t[:, None] * way * np.cos(bend)[:, None] - (np.sin(bend) * t)[:, None] * [0, 0, 1.0])
    knuckles = 1 + 0.05 * np.cos(t * 3 * 2 * np.pi)
    end = np.sqrt(np.clip(1 - ((t - 0.9) / 0.1).clip(0, 1) ** 2, 0.003, 1))
    return tube(line, radius * (1 - 0.22 * t) * knuckles * end, colour, 12, HAND)


def _palm(colour: NDArray[np.float64]) -> Prop:
    """A flat rounded block."""
    t = np.linspace(-1, 1, 15)
    u = np.linspace(0, 2 * np.pi, 25)[:-1]
    wide = (1 - np.abs(t) ** 4) ** 0.5
    ring = np.stack([np.sign(np.cos(u)) * np.abs(np.cos(u)) ** 0.7 * 40, 0 * u, np.sin(u) * 11], -1)
    points = np.stack([ring * w + [0, 46 * a - 4, 0] for w, a in zip(np.maximum(wide, 0.02), t, strict=True)])
    n, k = np.meshgrid(np.arange(len(t) - 1), np.arange(len(u)), indexing="ij")
    a, b = n * len(u) + k, n * len(u) + (k + 1) % len(u)
    faces = np.concatenate([np.stack([a, a + len(u), b], -1), np.stack([b, a + len(u), b + len(u)], -1)], 1).reshape(
        -1, 3
    )
    return Prop.make(points.reshape(-1, 3), faces, HAND, colour)
