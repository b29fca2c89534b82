"""Grow hair: roots on a head's skin, and polylines that follow a flow around the head without entering it.

Shapes: s strands, k points per strand. Millimetres, head frame.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.virtual_stage.geometry import Body
from mosar.datasets.virtual_stage.quantize import POINT_BITS, UNIT_BITS, quantize
from mosar.models.head import Head, occlusion

Floats = NDArray[np.floating]
_ROWS = 96
_FAR_MM = 500.0
_NECK_MM = 75.0
"""Half of the widest neck."""


@dataclass(frozen=True, eq=False)
class Roots:
    """Roots of hairs (s 3 each): position on the mesh and on the template, skin normal, share of light."""

    place_s3: Floats
    rest_s3: Floats
    normal_s3: Floats
    shadow_s3: Floats

    def __len__(self) -> int:
        return len(self.place_s3)

    def some(self, kept_s: NDArray[np.bool_]) -> "Roots":
        """The roots that ``kept_s`` selects."""
        return Roots(*(x[kept_s] for x in (self.place_s3, self.rest_s3, self.normal_s3, self.shadow_s3)))


def scatter(
    head: Head,
    body: Body,
    faces_f3: NDArray[np.int64],
    count: int,
    density: Callable[[Floats], Floats],
    rng: np.random.Generator,
) -> Roots:
    """Random roots, uniform by area over faces of the template, each kept with the probability ``density`` (0 to 1).

    ``count * body.fineness`` candidates are drawn.
    """
    count = round(count * body.fineness)
    corners = head.template_v3[faces_f3].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = faces_f3[rng.choice(len(faces_f3), count, p=area / area.sum())]
    u, v = np.sqrt(rng.random(count)), rng.random(count)
    weight = np.stack([1 - u, u * (1 - v), u * v], -1)
    luck = rng.random(count)

    def at(values_v3: Floats) -> Floats:
        return np.asarray(np.einsum("scx,sc->sx", values_v3[chosen], weight))

    rest = at(head.template_v3)
    keep = luck < density(rest)
    normal = at(body.normals_v3)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    return Roots(at(body.vertices_v3)[keep], rest[keep], normal[keep], at(body.shadow_v3)[keep])


@dataclass(frozen=True, eq=False)
class Hull:
    """Distance that a head reaches in each direction from a centre inside the skull (latitude and longitude grid)."""

    centre_3: Floats
    radius_hw: Floats

    @staticmethod
    def of(head: Head, body: Body, centre_3: Floats) -> "Hull":
        theta = (np.arange(_ROWS) + 0.5) / _ROWS * np.pi
        phi = (np.arange(2 * _ROWS) + 0.5) / _ROWS * np.pi
        way = np.stack(
            [
                np.sin(theta)[:, None] * np.sin(phi),
                np.cos(theta)[:, None] * np.ones_like(phi),
                np.sin(theta)[:, None] * np.cos(phi),
            ],
            -1,
        ).reshape(-1, 3)
        distance = occlusion.distances(head, body.vertices_v3, centre_3 + _FAR_MM * way, -way)
        radius = np.where(distance < 2 * _FAR_MM, np.maximum(_FAR_MM - distance, 0), 0)
        beside = _NECK_MM / np.maximum(np.hypot(way[:, 0], way[:, 2]), 0.1)  # hair falls past the shoulders
        radius = np.where(way[:, 1] < -0.35, np.minimum(radius, beside), radius)
        return Hull(centre_3, radius.reshape(_ROWS, 2 * _ROWS))

    def radius(self, points_n3: Floats) -> tuple[Floats, Floats]:
        """The head's reach (n) in the direction of each point, and that direction (n 3)."""
        from scipy.ndimage import map_coordinates

        offset = points_n3 - self.centre_3
        way = offset / np.maximum(np.linalg.norm(offset, axis=-1, keepdims=True), 1e-6)
        row = np.arccos(np.clip(way[:, 1], -1, 1)) / np.pi * _ROWS - 0.5
        column = (np.arctan2(way[:, 0], way[:, 2]) / np.pi % 2) * _ROWS - 0.5
        padded = np.concatenate([self.radius_hw[:, -1:], self.radius_hw, self.radius_hw[:, :1]], 1)
        return map_coordinates(padded, (row, column + 1), order=1, mode="nearest"), way


@dataclass(frozen=True)
class Growth:
    """How hair grows: weights of the components of a step's direction, and the number of steps.

    Attributes:
        flow: along the direction field; falls with the distance from the head.
        lift: away from the skin at the root; fades along the strand.
        gravity: down.
        curl: random turns of each strand.
        cling: back to the head; rises with the distance from it.
    """

    flow: float = 1.0
    lift: float = 0.5
    gravity: float = 0.3
    curl: float = 0.1
    steps: int = 10
    cling: float = 0.15


def grow(
    roots: Roots,
    length_s: Floats,
    height_s: Floats,
    flow: Callable[[Floats], Floats],
    hull: Hull | None,
    growth: Growth,
    bend_s3: Floats,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Polylines (s k 3), and the directions away from the head along them (s k 3).

    ``flow``: the direction field (n 3) at points (n 3). ``height_s``: smallest height of a strand's end over the head.
    ``hull``: the strands stay outside it; None for short hairs, which stay above the plane of their root. ``bend_s3``:
    constant pull on each strand.
    """
    place, way = roots.place_s3.astype(np.float64), roots.normal_s3.astype(np.float64)
    step = (length_s / growth.steps)[:, None]
    points: list[Floats] = [place]
    outs: list[Floats] = [way]
    turn = np.zeros_like(place)
    over, out = _over(place, roots, hull)
    for k in range(growth.steps):
        field = flow(place)
        field -= (field * out).sum(1, keepdims=True) * out
        field /= np.maximum(np.linalg.norm(field, axis=1, keepdims=True), 1e-6)
        near = np.clip(1 - (over - height_s) / 25, 0, 1)[:, None]
        turn = 0.6 * turn + rng.normal(0, growth.curl, place.shape)
        lift = growth.lift * (1 - k / growth.steps) ** 2
        way = 0.6 * way + growth.flow * near * field + lift * roots.normal_s3 + turn + bend_s3
        fall = growth.gravity * (0.3 + 1.5 * (1 - near) + k / growth.steps)
        way = way + fall * np.array([0, -1.0, 0]) - growth.cling * (1 - near) * out
        way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-6)
        place = place + step * way
        over, out = _over(place, roots, hull)
        least = 0.4 + height_s * min(1.0, 2 * (k + 1) / growth.steps)
        lifted = np.maximum(least - over, 0)
        place, over = place + lifted[:, None] * out, over + lifted
        points.append(place)
        outs.append(out)
    line = np.stack(points, 1)
    for _ in range(2):
        line[:, 1:-1] = 0.25 * line[:, :-2] + 0.5 * line[:, 1:-1] + 0.25 * line[:, 2:]
    ways = quantize(np.stack(outs, 1), UNIT_BITS)
    return quantize(line, POINT_BITS).astype(np.float32), ways.astype(np.float32)


def _over(place_s3: Floats, roots: Roots, hull: Hull | None) -> tuple[Floats, Floats]:
    """Height (s) over the head, and the direction away from it (s 3)."""
    if hull is None:
        return ((place_s3 - roots.place_s3) * roots.normal_s3).sum(1), roots.normal_s3
    reach, out = hull.radius(place_s3)
    return np.linalg.norm(place_s3 - hull.centre_3, axis=1) - reach, out
