"""Hair, clothes, hats, glasses and hands around the head: they occlude the skin and are not part of the maps."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mosar.datasets.schema import CLASSES
from mosar.datasets.virtual_stage import hats
from mosar.datasets.virtual_stage.clothes import Collar, collar, shoulders
from mosar.datasets.virtual_stage.facial_hair import facial_hair
from mosar.datasets.virtual_stage.geometry import CLOTH, FRAME, FUZZ, HAIR, HAND, SKIN, Body, Prop
from mosar.datasets.virtual_stage.glasses import glasses
from mosar.datasets.virtual_stage.hair import hair, skull
from mosar.datasets.virtual_stage.hands import hand
from mosar.datasets.virtual_stage.noise import bumps
from mosar.datasets.virtual_stage.strands import Hull
from mosar.datasets.virtual_stage.subjects import Subject
from mosar.datasets.virtual_stage.uv_regions import Atlas
from mosar.models.head import Head

SPECULAR = {HAIR: 0.2, FUZZ: 0.1, FRAME: 0.6, CLOTH: 0.12, HAND: 0.3}
"""Specular value by material; reflectance at normal incidence is 0.08 times it."""


@dataclass(frozen=True, eq=False)
class Patch:
    """Surface at n pixels: linear albedo, specular, normal; ``cover_n1`` is 1 where it covers the skin, else 0."""

    cover_n1: Tensor
    diffuse_n3: Tensor
    specular_n1: Tensor
    normal_n3: Tensor


@dataclass(frozen=True, eq=False)
class Accessories:
    """All meshes but the head, joined, and the appearance of these meshes and of the clothes.

    ``rest_v3``: template positions, to which patterns are fixed: first the head's vertices, then those of the meshes.
    ``albedo_v3``: linear albedo in the same order (zero for the head). ``parts``: the meshes one by one. ``class_f``:
    class number of each triangle.
    """

    subject: Subject
    vertices_v3: Tensor
    triangles_f3: Tensor
    material_f: Tensor
    class_f: Tensor
    normals_v3: Tensor
    shadow_v3: Tensor
    rest_v3: Tensor
    albedo_v3: Tensor
    collar: Collar
    parts: tuple[Prop, ...]

    def surface(self, material_n: Tensor, rest_n3: Tensor, albedo_n3: Tensor, normal_n3: Tensor) -> Patch:
        """Surface of the pixels that show something other than skin, from attributes gathered from the vertices."""
        rest = rest_n3.double().numpy()
        cloth = (material_n == SKIN).numpy() & (self.collar.below(rest) > 0)
        diffuse, normal = albedo_n3.clone(), normal_n3.clone()
        diffuse[torch.from_numpy(cloth)] = torch.from_numpy(self.collar.weave(rest[cloth])).float()
        woven = torch.from_numpy(cloth) | (material_n == CLOTH)
        normal[woven] += torch.from_numpy(0.25 * bumps(rest[woven.numpy()], 22, self.subject.seed + 85))
        specular = torch.zeros(len(rest))
        for material, value in SPECULAR.items():
            specular[material_n == material] = value
        specular[woven] = SPECULAR[CLOTH]
        cover = torch.from_numpy(cloth) | (material_n >= HAIR)
        return Patch(cover[:, None].float(), diffuse, specular[:, None], normalize(normal, dim=-1))


def add_accessories(head: Head, a: Atlas, subject: Subject, body: Body, rng: np.random.Generator) -> Accessories:
    """All accessories of a person. ``rng``: the capture's generator; it decides whether a hand is shown."""
    hull = Hull.of(head, body, skull(a, head, body))
    worn = collar(head, subject)
    named = [
        ("cloth", shoulders(head, body, worn)),
        ("glasses", glasses(head, subject, body)),
        ("headwear", hats.hat(head, a, subject, body)),
        ("hand", hand(subject, hull, rng)),
        *facial_hair(head, a, subject, body),
    ]
    if hats.kind(subject) != "scarf":
        named += [("scalp_hair", part) for part in hair(head, a, subject, body, hull)]
    named = [(name, part) for name, part in named if len(part.triangles_g3)]
    parts = [part for _, part in named]
    classes = [np.full(len(part.triangles_g3), CLASSES.index(name)) for name, part in named]
    whole = Prop.join(parts)
    faces = torch.from_numpy(whole.triangles_g3)

    def floats(*values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.concatenate(values).astype(np.float32))

    return Accessories(
        subject=subject,
        vertices_v3=floats(whole.vertices_x3),
        triangles_f3=faces,
        material_f=torch.from_numpy(np.concatenate([np.full(len(m.triangles_g3), m.material) for m in parts])),
        class_f=torch.from_numpy(np.concatenate(classes)),
        normals_v3=floats(whole.normals_x3),
        shadow_v3=floats(whole.shadow_x3),
        rest_v3=floats(head.template_v3, whole.rest_x3),
        albedo_v3=floats(np.zeros_like(head.template_v3), whole.albedo_x3),
        collar=worn,
        parts=tuple(parts),
    )
