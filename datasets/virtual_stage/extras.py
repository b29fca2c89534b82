"""What people wear on and around their skin: hair, clothes, glasses. They occlude; they are not in the maps."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mosar.datasets.virtual_stage.atlas import Atlas
from mosar.datasets.virtual_stage.clothes import Collar, collar, shoulders
from mosar.datasets.virtual_stage.glasses import glasses
from mosar.datasets.virtual_stage.hair import long_hair, scalp_hair, strands
from mosar.datasets.virtual_stage.noise import bumps
from mosar.datasets.virtual_stage.people import Person
from mosar.datasets.virtual_stage.things import HAIR, SKIN, Body, Mesh
from mosar.models.head import Head
from mosar.models.head.morph import vertex_normals


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
    collar: Collar

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
            diffuse[hair], specular[hair], opened[hair], bump[hair] = strands(self.person, rest[hair])
        if cloth.any():
            diffuse[cloth], specular[cloth] = self.collar.weave(rest[cloth]), 0.15
            bump[cloth] = 0.25 * bumps(rest[cloth], 22, self.person.seed + 85)
        return Patch(
            cover[:, None].float(),
            torch.from_numpy(diffuse),
            torch.from_numpy(specular)[:, None],
            normalize(normal_n3 + torch.from_numpy(bump), dim=-1),
            torch.from_numpy(opened)[:, None],
        )


def dress(head: Head, a: Atlas, person: Person, body: Body) -> Extras:
    """Hair, clothes and glasses of a person."""
    parts = [
        scalp_hair(head, a, person, body),
        long_hair(head, a, person, body),
        shoulders(head, body),
        glasses(head, person, body),
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
        collar=collar(head, person),
    )
