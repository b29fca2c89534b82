"""Scalp hair by style: a dark shell over the scalp, and strands that grow from it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.virtual_stage import hats
from mosar.datasets.virtual_stage.geometry import HAIR, Body, Prop, Strands, subdivide
from mosar.datasets.virtual_stage.noise import bumps, fractal_noise, gradient_noise
from mosar.datasets.virtual_stage.strands import Floats, Growth, Hull, Roots, grow, scatter
from mosar.datasets.virtual_stage.subjects import Subject
from mosar.datasets.virtual_stage.uv_regions import Atlas, eye_level, hairline, smoothstep
from mosar.models.head import Head

STRANDS = 10000
"""Number of candidate roots on the scalp; those outside the hairline are dropped."""


@dataclass(frozen=True)
class Style:
    """Parameters of a hair style.

    ``length``: range of lengths in mm; ``sides``: share of the length at the sides and the back; ``height``: mm over
    the scalp; ``width``: relative width of a strand, which stands for a lock; ``curly``: 1 for tight curls; ``locks``:
    how strongly neighbouring strands bend together; ``many``: factor on the number of strands.
    """

    length: tuple[float, float]
    sides: float
    height: float
    growth: Growth
    width: float = 1.0
    curly: float = 0.0
    locks: float = 0.35
    many: float = 1.0


STYLES = {
    "bald": Style((3, 6), 1.0, 0.5, Growth(1.0, 0.2, 0.2, 0.1, 4), 0.4),
    "shaved": Style((3, 5), 1.0, 0.8, Growth(1.0, 0.3, 0.1, 0.1, 3), 0.45, many=2.0),
    "short": Style((22, 55), 0.4, 9.0, Growth(1.0, 0.9, 0.25, 0.12, 8), 1.1, many=1.2),
    "tied": Style((150, 190), 1.0, 4.0, Growth(1.6, 0.15, 0.0, 0.02, 12, 1.0), 1.3, locks=0.15),
    "long": Style((160, 320), 1.0, 8.0, Growth(0.9, 0.3, 0.5, 0.04, 14, 0.25), 1.4, locks=0.12, many=1.5),
    "afro": Style((20, 70), 0.8, 16.0, Growth(0.1, 0.7, 0.0, 1.2, 16, 0.1), 1.2, 1.0, many=2.0),
}


def hair(head: Head, a: Atlas, subject: Subject, body: Body, hull: Hull) -> list[Prop]:
    """A person's hair: the shell over the scalp, and the strands."""
    return [_shell(head, a, subject, body), _strands(head, a, subject, body, hull).ribbons(body.eye_3)]


def veil(subject: Subject, rest_n3: Floats) -> NDArray[np.float32]:
    """Share (n, 1) of the light that long hair lets through to the skin, at template points."""
    if subject.style != "long":
        return np.ones((len(rest_n3), 1), np.float32)
    return 1 - 0.65 * smoothstep(-25, -70, rest_n3[:, 2:3])


def skull(a: Atlas, head: Head, body: Body) -> Floats:
    """A point inside the skull, behind the eyes."""
    eye = eye_level(a)
    above = head.template_v3[:, 1] > eye[1]
    box = body.vertices_v3[above]
    middle = (box.max(0) + box.min(0)) / 2
    return np.array([middle[0], float(box[:, 1].min()), middle[2]], np.float64)


def grows(a: Atlas, subject: Subject, rest_n3: Floats, inset: float = 0.0) -> Floats:
    """Density (n) of hair at template points, in [0, 1], from a ragged hairline that may recede.

    ``inset``: mm by which to stay behind the hairline.
    """
    middle = smoothstep(60, 15, np.abs(rest_n3[:, 0])) * smoothstep(-40, 10, rest_n3[:, 2])
    line = hairline(rest_n3, eye_level(a)) - 26 * subject.traits["receding"] * middle
    line = line + 9 * gradient_noise(rest_n3, 14, subject.seed + 22) + 5 * gradient_noise(rest_n3, 5, subject.seed + 86)
    dense = smoothstep(-7 + inset, 9 + inset, line)
    if subject.style == "bald":  # a wreath of hair remains
        dense = dense * smoothstep(62, 40, rest_n3[:, 1])
    return np.asarray(dense, np.float64)


def scalp(head: Head, a: Atlas, reach: float) -> NDArray[np.int64]:
    """Skin faces above a line that runs ``reach`` mm below the average hairline, without the ears."""
    rest, eye = np.asarray(head.template_v3, np.float64), eye_level(a)
    skin = np.zeros(len(rest), bool)
    skin[np.unique(head.triangles_f3[head.material_f == 0])] = True
    ears = (np.abs(rest[:, 0]) > 72) & (rest[:, 1] > eye[1] - 70) & (rest[:, 1] < eye[1] + 16) & (rest[:, 2] > -125)
    use = skin & (hairline(rest, eye) > -reach) & ~(ears | head.region("ears"))
    return np.asarray(head.triangles_f3[use[head.triangles_f3].all(1)])


def _shell(head: Head, a: Atlas, subject: Subject, body: Body) -> Prop:
    """Dark surface a little over the skin: it is what shows between the strands."""
    style = STYLES[subject.style]
    if style.height < 3:
        return Prop.none()
    values = np.concatenate([body.vertices_v3, body.normals_v3, head.template_v3, body.shadow_v3], 1)
    values, faces = subdivide(values, scalp(head, a, 30))
    place, normal, rest, shadow = np.split(values, [3, 6, 9], 1)
    dense = grows(a, subject, rest, 14)[:, None]
    bulk = 1 + 0.6 * fractal_noise(rest, 40, 2, subject.seed + 81)[:, None]
    place = place + normal * (0.45 * style.height * bulk * dense - 2.0 * (1 - dense))
    tone = np.clip(0.35 + 0.25 * fractal_noise(rest, 6, 2, subject.seed + 82), 0.15, 0.6)[:, None]
    return Prop.make(place, faces, HAIR, subject.hair * tone, shadow * 0.6, rest)


def _strands(head: Head, a: Atlas, subject: Subject, body: Body, hull: Hull) -> Strands:
    style, rng = STYLES[subject.style], np.random.default_rng(subject.seed + 80)

    def dense(rest: Floats) -> Floats:
        return grows(a, subject, rest) * (hats.rim(a, subject, rest) < 0)

    roots = scatter(head, body, scalp(head, a, 12), round(style.many * STRANDS), dense, rng)
    rest, seed = roots.rest_s3, subject.seed + 90
    lowest = rng.uniform(*style.length)
    top = smoothstep(15, 55, rest[:, 1] - eye_level(a)[1] + 0.25 * np.clip(rest[:, 2] + 60, -60, 60))
    length = lowest * (style.sides + (1 - style.sides) * top) * np.exp(rng.normal(0, 0.12, len(rest)))
    length = length * (1 + 0.5 * gradient_noise(rest, 18, seed))
    flow = _flow(subject, hull, rng)
    if subject.style == "tied":
        length = np.minimum(length, 1.05 * np.linalg.norm(flow(roots.place_s3), axis=1))
    height = style.height * rng.uniform(0.25, 1.0, len(rest)) * (0.5 + 0.5 * top) * (0.75 + 0.5 * rng.random())
    locks = style.locks * bumps(rest, 13, seed + 3) + (0.9 * bumps(rest, 4, seed + 6) if style.curly else 0)
    points, out = grow(roots, length, height, flow, hull, style.growth, locks, rng)
    kept = ~_before_face(points, hull) | (rng.random(len(roots)) < (0.1 if rng.random() < 0.15 else 0.01))
    roots, points, out = roots.some(kept), points[kept], out[kept]
    return colour(subject, roots, points, out, 0.75 * style.width * body.fineness**-0.6, 0.5, rng)


def _before_face(points_sk3: Floats, hull: Hull) -> NDArray[np.bool_]:
    """Which strands (s) cross in front of eyes, nose or mouth."""
    x, y, z = np.moveaxis(points_sk3 - hull.centre_3, -1, 0)
    return np.asarray(((np.abs(x) < 54) & (y < 14) & (y > -130) & (z > 50)).any(1))


def colour(
    subject: Subject, roots: Roots, points_sk3: Floats, out_sk3: Floats, width: float, root: float,
    rng: np.random.Generator, tint: Floats | float = 1.0,
) -> Strands:  # fmt: skip
    """Strands in the person's hair colour with random variation; ``root``: factor on the light at their roots."""
    count, steps, _ = points_sk3.shape
    locks = 0.5 * gradient_noise(roots.rest_s3, 7, subject.seed + 95)[:, None, None]
    own = np.exp(rng.normal(0, 0.15, (count, 1, 1)) + locks)
    lit = root + (1 - root) * np.clip(np.linspace(0, 1.6, steps), 0, 1)
    shadow = np.repeat(roots.shadow_s3[:, None], steps, 1) ** np.linspace(1, 0.5, steps)[None, :, None]
    albedo = np.clip(subject.hair * tint * own * np.linspace(0.9, 1.15, steps)[None, :, None], 0.003, 0.8)
    widths = np.asarray(width * rng.uniform(0.6, 1.2, count), np.float32)
    light = (shadow * lit[None, :, None]).astype(np.float32)
    return Strands(points_sk3, albedo.astype(np.float32), light, out_sk3, widths, HAIR)


def _flow(subject: Subject, hull: Hull, rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """The direction field that hair follows: out from the crown, combed back, to a side or to the front."""
    centre = hull.centre_3
    crown = centre + np.array([rng.normal(0, 12), 85.0, -45.0])
    knot = centre + np.array([0, rng.uniform(0, 60), -120.0])
    parting = rng.uniform(-45, 45)
    back, aside = rng.choice([-0.3, 0.7, 1.6]) * rng.uniform(0.6, 1.2), rng.choice([0.0, 0.8, 1.4])
    wave, seed = rng.uniform(0, 0.5), subject.seed + 97

    def flow(points_n3: Floats) -> Floats:
        if subject.style == "tied":
            return knot - points_n3
        away = points_n3 - crown
        away = away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
        offset = points_n3 - centre
        high = smoothstep(20, 80, offset[:, 1])[:, None]
        side = np.tanh((points_n3[:, 0] - centre[0] - parting) / 12)[:, None] * np.array([1.0, 0, 0])
        combed = away + high * (back * np.array([0, 0.2, -1.0]) + aside * side)
        if subject.style == "long":
            front = smoothstep(10, 60, offset[:, 2])[:, None] * 1.6
            aside_of_face = np.array([0, 0, -1.5]) + np.sign(offset[:, :1]) * [1.6, 0, 0]
            combed = combed + 0.8 * side * high + front * aside_of_face
        return np.asarray(combed + wave * bumps(points_n3, 25, seed))

    return flow
