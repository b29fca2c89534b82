"""What people wear on and around their skin: hair, clothes, glasses. They occlude; they are not in the maps."""

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


def dress(
    head: Head,
    a: Atlas,
    person: Person,
    vertices_v3: NDArray[np.float32],
    normals_v3: NDArray[np.float32],
    shadow_v3: NDArray[np.float32],
) -> Extras:
    """Hair, clothes and glasses of a person whose head (V 3, mm) they follow."""
    parts = [_hair(head, a, person, vertices_v3, normals_v3, shadow_v3)]
    offset, meshes = 0, []
    for mesh in parts:
        meshes.append(mesh[1] + offset)
        offset += len(mesh[0])
    vertices, triangles = np.concatenate([m[0] for m in parts]), np.concatenate(meshes)
    points = torch.from_numpy(vertices.astype(np.float32))
    faces = torch.from_numpy(triangles.astype(np.int64))
    return Extras(
        person=person,
        vertices_v3=points,
        triangles_f3=faces,
        material_f=torch.from_numpy(np.concatenate([np.full(len(m[1]), m[2]) for m in parts])),
        normals_v3=vertex_normals(points[None], faces)[0],
        shadow_v3=torch.from_numpy(np.concatenate([m[4] for m in parts]).astype(np.float32)),
        rest_v3=torch.from_numpy(np.concatenate([head.template_v3, *[m[3] for m in parts]]).astype(np.float32)),
        collar=_collar(head, person),
    )


Mesh = tuple[NDArray[np.floating], NDArray[np.int64], int, NDArray[np.floating], NDArray[np.floating]]
"""Vertices, triangles, material, template positions, shadow."""


def _hair(
    head: Head,
    a: Atlas,
    person: Person,
    vertices_v3: NDArray[np.float32],
    normals_v3: NDArray[np.float32],
    shadow_v3: NDArray[np.float32],
) -> Mesh:
    """A shell over the scalp, sinking into the skin at the hairline."""
    thick = STYLES[person.style]
    rest = np.asarray(head.template_v3, np.float64)
    eye = np.nanmean(a.points_l3[[33, 133, 263, 362]], 0) * [0, 1, 1]
    back = smoothstep(60, 15, np.abs(rest[:, 0])) * smoothstep(-40, 10, rest[:, 2])
    line = hairline(rest, eye) - 26 * person.traits["receding"] * back - 4
    grows = smoothstep(0, 30, line) ** 0.7
    if person.style == "long":
        curtain = smoothstep(-38, -62, rest[:, 2]) * smoothstep(-215, -190, rest[:, 1])
        grows = np.maximum(grows, curtain)
    skin = np.zeros(len(rest), bool)
    skin[np.unique(head.triangles_f3[head.material_f == 0])] = True
    ears = (np.abs(rest[:, 0]) > 72) & (rest[:, 1] > eye[1] - 70) & (rest[:, 1] < eye[1] + 16) & (rest[:, 2] > -125)
    use = skin & (grows > 0.002) & ~(ears | head.region("ears")) & (thick > 0)
    faces = head.triangles_f3[use[head.triangles_f3].all(1)]
    if not len(faces):
        none = np.zeros((0, 3))
        return none, np.zeros((0, 3), np.int64), HAIR, none, none
    values = np.concatenate([vertices_v3, normals_v3, rest, shadow_v3, grows[:, None]], 1)
    values, faces = _subdivide(values, faces)
    place, normal, rest, shadow, grows = np.split(values, [3, 6, 9, 12], 1)
    rng = np.random.default_rng(person.seed + 80)
    bulk = 1 + 0.9 * fractal_noise(rest, 45, 2, person.seed + 81)[:, None]
    rough = {"afro": 5.0, "short": 2.5, "long": 2.0}.get(person.style, 0.6)
    tufts = rough * fractal_noise(rest, 11, 2, person.seed + 82)[:, None]
    up = np.array([0.0, 1.0, 0.0]) * smoothstep(20, 70, rest[:, 1:2] - eye[1]) * 0.6
    height = thick * rng.uniform(0.7, 1.3) * bulk * grows + tufts * grows - 1.2 * (1 - grows)
    way = normal + up
    return place + way / np.linalg.norm(way, axis=1, keepdims=True) * height, faces, HAIR, rest, shadow


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
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Albedo, specular, openness and bump of hair (n) at template positions: strands run down from the crown."""
    seed = person.seed + 83
    if person.style == "afro":
        flow = rest_n3 / 2.2
    else:
        around = np.arctan2(rest_n3[:, 0], rest_n3[:, 2] + 70) * 70
        run = np.hypot(rest_n3[:, 1], rest_n3[:, 2]) * 0.08 + 3 * gradient_noise(rest_n3, 40, seed)
        flow = np.stack([around + 4 * gradient_noise(rest_n3, 25, seed + 1), run, rest_n3[:, 1] * 0.06], -1) / 2.5
    fine = gradient_noise(flow, 1.0, seed + 2) + 0.7 * gradient_noise(flow * 0.4, 1.0, seed + 3)
    deep = np.clip(0.75 + 0.8 * fine, 0.15, 1.3)
    albedo = person.hair * (0.75 + 0.5 * np.clip(fine, -1, 1)[:, None])
    return albedo, np.clip(0.45 + 0.3 * fine, 0.1, 0.9), np.clip(deep, 0, 1), 0.35 * _bumps(flow, 1.0, seed + 4)


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
