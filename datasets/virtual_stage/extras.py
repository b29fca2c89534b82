"""What people wear on and around their skin: hair, clothes, glasses. They occlude; they are not in the maps."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from mosar.datasets.virtual_stage.atlas import Atlas, hairline, smoothstep
from mosar.datasets.virtual_stage.noise import fractal_noise, gradient_noise
from mosar.datasets.virtual_stage.people import Person
from mosar.models.head import Head
from mosar.models.head.morph import vertex_normals

SKIN, HAIR, FRAME = 0, 16, 17
"""Materials: the head's own count from 0 (skin), these are added."""

STYLES = {
    "bald": 0.0,
    "shaved": 0.0,
    "tied": 5.0,
    "short": 14.0,
    "long": 17.0,
    "afro": 38.0,
}
"""Thickness of the hair, mm."""


@dataclass(frozen=True, eq=False)
class Patch:
    """Surfaces of pixels (n) that ``cover`` (0 or 1) the skin: linear albedo, specular, normal, openness."""

    cover_n1: Tensor
    diffuse_n3: Tensor
    specular_n1: Tensor
    normal_n3: Tensor
    open_n1: Tensor


@dataclass(frozen=True, eq=False)
class Extras:
    """Meshes beside the head (x vertices), and how they and the clothes look.

    ``rest_v3``: template positions of the head's vertices, then of these: patterns are fixed to them.
    """

    person: Person
    vertices_v3: Tensor
    triangles_f3: Tensor
    material_f: Tensor
    normals_v3: Tensor
    shadow_v3: Tensor
    rest_v3: Tensor
    collar: "Collar"

    def surface(self, material_n: Tensor, rest_n3: Tensor, normal_n3: Tensor) -> Patch:
        """How the pixels that show hair, frames or clothes look; ``rest_n3`` are their template positions."""
        rest = rest_n3.double().numpy()
        cloth = (material_n == SKIN).numpy() & self.collar.covers(rest)
        cover = torch.from_numpy(cloth) | (material_n >= HAIR)
        diffuse = np.full((len(rest), 3), 0.02, np.float32)
        specular = np.full(len(rest), 0.6, np.float32)
        opened = np.ones(len(rest), np.float32)
        bump = np.zeros((len(rest), 3), np.float32)
        hair = (material_n == HAIR).numpy()
        if hair.any():
            diffuse[hair], specular[hair], opened[hair], bump[hair] = _strands(self.person, rest[hair])
        if cloth.any():
            diffuse[cloth], specular[cloth] = self.collar.weave(rest[cloth]), 0.15
            bump[cloth] = 0.25 * _bumps(rest[cloth], 22, self.person.seed + 85)
        return Patch(
            cover[:, None].float(),
            torch.from_numpy(diffuse),
            torch.from_numpy(specular)[:, None],
            normalize(normal_n3 + torch.from_numpy(bump), dim=-1),
            torch.from_numpy(opened)[:, None],
        )


@dataclass(frozen=True, eq=False)
class Collar:
    """Clothes as a cut through the template: below ``height`` mm in front, sloped as a V neck, higher behind."""

    height: float
    slope: float
    colour: NDArray[np.float64]
    second: NDArray[np.float64]
    stripe_mm: float

    def covers(self, rest_n3: NDArray[np.float64]) -> NDArray[np.bool_]:
        x, y, z = np.abs(rest_n3[:, 0]), rest_n3[:, 1], rest_n3[:, 2]
        return np.asarray(y < self.height + self.slope * np.minimum(x, 70) + 0.22 * np.clip(-z - 20, 0, 90))

    def weave(self, rest_n3: NDArray[np.float64]) -> NDArray[np.float64]:
        band = (np.sin(rest_n3[:, 1] * 2 * np.pi / self.stripe_mm) > 0.3)[:, None]
        return np.where(band, self.second, self.colour)


@dataclass(frozen=True, eq=False)
class Body:
    """A head that is dressed (V 3 each): points in mm, normals, share of light past its own shadows."""

    vertices_v3: NDArray[np.float32]
    normals_v3: NDArray[np.float32]
    shadow_v3: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Mesh:
    """A thing: points, triangles (counter-clockwise from outside), material, template positions, share of light."""

    vertices_x3: NDArray[np.floating]
    triangles_g3: NDArray[np.int64]
    material: int
    rest_x3: NDArray[np.floating]
    shadow_x3: NDArray[np.floating]

    @staticmethod
    def none() -> "Mesh":
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64), HAIR, np.zeros((0, 3)), np.zeros((0, 3)))

    @staticmethod
    def join(parts: "Sequence[Mesh]") -> "Mesh":
        """One mesh of several of one material."""
        starts = np.cumsum([0, *[len(m.vertices_x3) for m in parts]])
        return Mesh(
            np.concatenate([m.vertices_x3 for m in parts]),
            np.concatenate([m.triangles_g3 + start for m, start in zip(parts, starts[:-1], strict=True)]),
            parts[0].material,
            np.concatenate([m.rest_x3 for m in parts]),
            np.concatenate([m.shadow_x3 for m in parts]),
        )


def dress(head: Head, a: Atlas, person: Person, body: Body) -> Extras:
    """Hair, clothes and glasses of a person."""
    parts = [
        _scalp_hair(head, a, person, body),
        _long_hair(head, a, person, body),
        _shoulders(head, body),
        _glasses(a, person, body, head),
    ]
    whole = Mesh.join(parts)
    points = torch.from_numpy(whole.vertices_x3.astype(np.float32))
    faces = torch.from_numpy(whole.triangles_g3.astype(np.int64))
    return Extras(
        person=person,
        vertices_v3=points,
        triangles_f3=faces,
        material_f=torch.from_numpy(np.concatenate([np.full(len(m.triangles_g3), m.material) for m in parts])),
        normals_v3=vertex_normals(points[None], faces)[0],
        shadow_v3=torch.from_numpy(whole.shadow_x3.astype(np.float32)),
        rest_v3=torch.from_numpy(np.concatenate([head.template_v3, whole.rest_x3]).astype(np.float32)),
        collar=_collar(head, person),
    )


def _scalp_hair(head: Head, a: Atlas, person: Person, body: "Body") -> Mesh:
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
    values, faces = _subdivide(values, faces)
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


def _long_hair(head: Head, a: Atlas, person: Person, body: "Body") -> Mesh:
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


def _shoulders(head: Head, body: "Body") -> Mesh:
    """Clothes below where the head's mesh ends: its rim, drawn down and out."""
    rim = _rim(head)
    if not len(rim):
        return Mesh.none()
    used, flat = np.unique(rim, return_inverse=True)
    flat = flat.reshape(-1, 2)
    ring, rest = np.asarray(body.vertices_v3[used], np.float64), np.asarray(head.template_v3[used], np.float64)
    middle = ring.mean(0)
    out = (ring - middle) * np.array([1.0, 0, 1.0])
    steps = [(0.0, 1.0), (25.0, 1.12), (80.0, 1.2), (220.0, 1.22)]
    level = middle * np.array([1.0, 0, 1.0])
    rings = [level + out * grow + (ring[:, 1:2] - drop) * np.array([0, 1, 0]) for drop, grow in steps]
    rests = [rest - np.array([0, drop, 0]) for drop, _ in steps]
    faces = []
    for step in range(len(steps) - 1):
        top, low = step * len(ring), (step + 1) * len(ring)
        faces += [np.stack([flat[:, 1] + top, flat[:, 0] + top, flat[:, 0] + low], -1)]
        faces += [np.stack([flat[:, 1] + top, flat[:, 0] + low, flat[:, 1] + low], -1)]
    place = np.concatenate(rings)
    return Mesh(place, np.concatenate(faces), SKIN, np.concatenate(rests), np.full((len(place), 3), 0.8))


@functools.lru_cache(maxsize=4)
def _rim(head: Head) -> NDArray[np.int64]:
    """Edges (n, 2) at which the skin ends below, each in the direction of its triangle."""
    skin = head.triangles_f3[head.material_f == 0]
    edges = np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]])
    key = np.sort(edges, 1)
    _, first, count = np.unique(key, axis=0, return_index=True, return_counts=True)
    rim = edges[first[count == 1]]
    return rim[(head.template_v3[rim][..., 1] < -100).all(1)]


def _glasses(a: Atlas, person: Person, body: "Body", head: Head) -> Mesh:
    """Frames before the eyes with arms to the ears; the lenses are clear."""
    if not person.traits["glasses"]:
        return Mesh.none()
    rng = np.random.default_rng(person.seed + 90)
    texels = head.triangles_f3[head.landmark_triangle_l.clip(0)]
    marks = np.einsum("lcx,lc->lx", body.vertices_v3[texels], head.landmark_barycentric_l3)
    left = marks[[263, 362, 386, 374]].mean(0)
    right = marks[[33, 133, 159, 145]].mean(0)
    bridge = marks[6] if head.landmark_triangle_l[6] >= 0 else (left + right) / 2
    radius, tall, square, tube = rng.uniform(21, 27), rng.uniform(0.72, 1.0), rng.uniform(2, 4), rng.uniform(0.7, 2.0)
    front = float(max(bridge[2] + 3, left[2] + 14, right[2] + 14))
    angle = np.linspace(0, 2 * np.pi, 41)
    round_x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / square)
    round_y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / square)
    lines = []
    for eye, side in ((left, 1.0), (right, -1.0)):
        centre = np.array([eye[0] + side * 1.5, eye[1] - 3, front])
        curve = 0.0035 * (round_x * radius + side * 18) ** 2
        ring = centre + np.stack([round_x * radius, round_y * radius * tall, -curve], -1)
        lines.append(ring)
        hinge = centre + np.array([side * radius, 0.55 * radius * tall, -0.0035 * (radius + 18) ** 2])
        wide = float(np.abs(body.vertices_v3[np.abs(body.vertices_v3[:, 1] - eye[1]) < 12, 0]).max())
        bend = [side * min(wide, abs(hinge[0]) + 9), hinge[1], hinge[2] - 40]
        lines.append(np.array([hinge, bend, [side * 0.9 * wide, eye[1] + 4, -92]]))
    inner = [np.array([e[0] - s * (radius - 1.5), e[1] + 2, front]) for e, s in ((left, 1.0), (right, -1.0))]
    lines.append(np.array([inner[0], (inner[0] + inner[1]) / 2 + [0, 3, 2], inner[1]]))
    return Mesh.join([_tube(line, tube * (1.0 if len(line) > 3 else 0.9)) for line in lines])


def _tube(line_n3: NDArray[np.floating], radius: float, sides: int = 6) -> Mesh:
    """A round bar along a polyline."""
    along = np.gradient(line_n3, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    side = np.cross(along, np.where(np.abs(along[:, 1:2]) > 0.8, [[1.0, 0, 0]], [[0.0, 1, 0]]))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, along)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(turn)[None, :, None] * side[:, None] + np.sin(turn)[None, :, None] * up[:, None]
    place = (line_n3[:, None] + radius * ring).reshape(-1, 3)
    n, k = np.meshgrid(np.arange(len(line_n3) - 1), np.arange(sides), indexing="ij")
    a, b = n * sides + k, n * sides + (k + 1) % sides
    faces = np.concatenate([np.stack([a, b, a + sides], -1), np.stack([b, b + sides, a + sides], -1)], 1).reshape(-1, 3)
    return Mesh(place, faces, FRAME, place, np.full((len(place), 3), 0.9))


def _eye_level(a: Atlas) -> NDArray[np.float64]:
    """Between the eyes of the template."""
    return np.asarray(np.nanmean(a.points_l3[[33, 133, 263, 362]], 0) * [0, 1, 1])


def _subdivide(
    values_vc: NDArray[np.floating], triangles_f3: NDArray[np.int64]
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Each triangle as four; vertices that no triangle uses are dropped."""
    used, flat = np.unique(triangles_f3, return_inverse=True)
    triangles = flat.reshape(-1, 3)
    values = values_vc[used]
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]], -1).reshape(-1, 2)
    pairs, middle = np.unique(edges, axis=0, return_inverse=True)
    m = middle.reshape(-1, 3) + len(values)
    values = np.concatenate([values, values[pairs].mean(1)])
    a, b, c = triangles.T
    quarters = [(a, m[:, 0], m[:, 2]), (m[:, 0], b, m[:, 1]), (m[:, 2], m[:, 1], c), (m[:, 0], m[:, 1], m[:, 2])]
    return values, np.concatenate([np.stack(q, -1) for q in quarters])


def _strands(
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
    return albedo, np.clip(0.1 + 0.15 * fine, 0.02, 0.5), deep, 0.22 * _bumps(flow, 1.0, seed + 4)


def _bumps(points_n3: NDArray[np.float64], wavelength: float, seed: int) -> NDArray[np.float32]:
    return np.stack([gradient_noise(points_n3, wavelength, seed + i) for i in range(3)], -1)


def _collar(head: Head, person: Person) -> Collar:
    rng = np.random.default_rng(person.seed + 84)
    low = float(head.template_v3[:, 1].min())
    round_neck = low + rng.uniform(14, 38), rng.uniform(0.0, 0.12)
    height, slope = round_neck if rng.random() < 0.6 else (low - 20, rng.uniform(0.5, 0.9))
    colour = np.exp(rng.uniform(np.log(0.02), np.log(0.6))) * np.exp(rng.normal(0, 0.45, 3))
    second = np.clip(colour * np.exp(rng.normal(0, 1.0)), 0.01, 0.8) if rng.random() < 0.2 else colour
    return Collar(height, slope, np.clip(colour, 0.01, 0.8), np.clip(second, 0.01, 0.8), rng.uniform(6, 30))
