"""Clothes: cloth on the template below a neckline, and shoulders below the head's mesh."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.virtual_stage.geometry import CLOTH, Body, Prop
from mosar.datasets.virtual_stage.subjects import Subject
from mosar.datasets.virtual_stage.uv_regions import smoothstep
from mosar.models.head import Head

_SUITS = 0.5
"""Share of the adults who wear a jacket."""


@dataclass(frozen=True, eq=False)
class Collar:
    """Neckline on the template: at ``height`` mm in front, rising sideways by ``slope`` (V neck), higher behind.

    ``second``: colour of stripes. ``jacket``: colour of an open jacket over the shirt; ``tie``: of a tie.
    """

    height: float
    slope: float
    colour: NDArray[np.float64]
    second: NDArray[np.float64]
    stripe_mm: float
    jacket: NDArray[np.float64] | None = None
    tie: NDArray[np.float64] | None = None

    def below(self, rest_n3: NDArray[np.float64]) -> NDArray[np.float64]:
        """Depth (n), mm, of template points below the neckline: positive on cloth."""
        x, y, z = np.abs(rest_n3[:, 0]), rest_n3[:, 1], rest_n3[:, 2]
        return np.asarray(self.height + self.slope * np.minimum(x, 70) + 0.22 * np.clip(-z - 20, 0, 90) - y)

    def weave(self, rest_n3: NDArray[np.float64]) -> NDArray[np.float64]:
        """Albedo (n, 3), linear, at template points."""
        band = (np.sin(rest_n3[:, 1] * 2 * np.pi / self.stripe_mm) > 0.3)[:, None]
        found = np.where(band, self.second, self.colour)
        aside, deep = np.abs(rest_n3[:, 0]), self.below(rest_n3)
        if self.tie is not None:
            tied = (aside < 7 + 0.06 * np.clip(deep, 0, 120)) & (deep > 5)
            found[tied] = self.tie
        if self.jacket is not None:
            worn = (aside > 30 - 0.16 * np.clip(deep, 0, 150)) & (deep > 4) | (rest_n3[:, 2] < -60)
            found[worn] = self.jacket
        return found


def collar(head: Head, subject: Subject) -> Collar:
    rng = np.random.default_rng(subject.seed + 84)
    low = float(head.template_v3[:, 1].min())
    if subject.age > 17 and rng.random() < _SUITS:
        dark = np.exp(rng.uniform(np.log(0.008), np.log(0.07))) * np.exp(rng.normal((-0.1, 0, 0.12), 0.1))
        shirt = rng.uniform(0.3, 0.75) * np.exp(rng.normal((-0.03, 0, 0.03), 0.05))
        tie = np.exp(rng.uniform(np.log(0.03), np.log(0.25))) * np.exp(rng.normal(0, 0.5, 3))
        worn = tie if rng.random() < 0.25 + 0.6 * subject.male else None
        if worn is None:  # a blouse of any colour
            shirt = shirt * np.exp(rng.normal(-0.4, 0.4, 3))
        shirt = np.clip(shirt, 0.02, 0.8)
        return Collar(low + rng.uniform(38, 58), rng.uniform(0, 0.1), shirt, shirt, 20.0, dark.clip(0.004, 0.3), worn)
    round_neck = low + rng.uniform(14, 38), rng.uniform(0.0, 0.12)
    height, slope = round_neck if rng.random() < 0.6 else (low - 20, rng.uniform(0.5, 0.9))
    colour = np.exp(rng.uniform(np.log(0.015), np.log(0.5))) * np.exp(rng.normal(0, 0.3, 3))
    second = np.clip(colour * np.exp(rng.normal(0, 1.0)), 0.01, 0.8) if rng.random() < 0.2 else colour
    return Collar(height, slope, np.clip(colour, 0.01, 0.8), np.clip(second, 0.01, 0.8), rng.uniform(6, 30))


def shoulders(head: Head, body: Body, worn: Collar) -> Prop:
    """Clothes below the head's mesh: its lower rim, extended down and outwards."""
    rim = _rim(head)
    if not len(rim):
        return Prop.none()
    used, flat = np.unique(rim, return_inverse=True)
    flat = flat.reshape(-1, 2)
    ring, rest = np.asarray(body.vertices_v3[used], np.float64), np.asarray(head.template_v3[used], np.float64)
    middle = ring.mean(0)
    out = (ring - middle) * np.array([1.0, 0, 1.0])
    # (down mm, growth of the ring, outwards mm): the sides of the neck widen to shoulders
    steps = [(0.0, 1.0, 0.0), (12.0, 1.08, 34.0), (34.0, 1.12, 86.0), (66.0, 1.15, 122.0), (120.0, 1.2, 138.0),
             (260.0, 1.2, 142.0)]  # fmt: skip
    level = middle * np.array([1.0, 0, 1.0])
    beside = np.sign(out[:, :1]) * smoothstep(25, 70, np.abs(out[:, 0]))[:, None] * np.array([1.0, 0, 0])
    rings = [
        level + out * grow + wide * beside + (ring[:, 1:2] - drop) * np.array([0, 1, 0]) for drop, grow, wide in steps
    ]
    rests = [rest - np.array([0, drop, 0]) + wide * beside for drop, _, wide in steps]
    faces = []
    for step in range(len(steps) - 1):
        top, low = step * len(ring), (step + 1) * len(ring)
        faces += [np.stack([flat[:, 1] + top, flat[:, 0] + top, flat[:, 0] + low], -1)]
        faces += [np.stack([flat[:, 1] + top, flat[:, 0] + low, flat[:, 1] + low], -1)]
    place, template = np.concatenate(rings), np.concatenate(rests)
    return Prop.make(place, np.concatenate(faces), CLOTH, worn.weave(template), 0.8, template)


@functools.lru_cache(maxsize=4)
def _rim(head: Head) -> NDArray[np.int64]:
    """Edges (n, 2) of the skin's lower boundary, each in the direction of its triangle."""
    skin = head.triangles_f3[head.material_f == 0]
    edges = np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]])
    key = np.sort(edges, 1)
    _, first, count = np.unique(key, axis=0, return_index=True, return_counts=True)
    rim = edges[first[count == 1]]
    return rim[(head.template_v3[rim][..., 1] < -100).all(1)]
