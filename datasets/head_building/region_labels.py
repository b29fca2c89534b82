"""Label the regions of a head's surface from its embedded landmarks, its shape, and masks that its source provides."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from mosar.datasets import skin_mask
from mosar.datasets.polygons import inside
from mosar.models.head import vertex_normals

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

NAMES = (
    "skin",
    "lips",
    "eyes",
    "ears",
    "scalp",
    "brows",
    "neck",
    "nose",
    "mouth",
    "forehead",
    "cheek",
    "face",
    "interior",
)
_NOSE = (168, 193, 245, 188, 174, 217, 126, 142, 129, 98, 97, 2, 326, 327, 358, 371, 355, 437, 399, 412, 465, 417)
_MOUTH = (164, 167, 165, 92, 186, 57, 43, 106, 182, 83, 18, 313, 406, 335, 273, 287, 410, 322, 391, 393)
OPEN = 0.12
"""Openness below which skin counts as hidden."""


def label(
    vertices_v3: Array,
    triangles_f3: npt.NDArray[np.int64],
    material_f: npt.NDArray[np.int64],
    points_l3: Array,
    known: Mapping[str, Mask],
) -> Mask:
    """Masks (R V) in the order of ``NAMES``.

    ``skin`` is the visible part of the first material, ``interior`` its hidden part (inside mouth, nose and lids);
    ``face`` reaches from hairline to chin and from ear to ear, and contains nose, mouth, forehead and cheek.

    Args:
        points_l3: best positions of all landmarks on these vertices (478 3).
        known: masks (V) that the source already has: any of lips, ears, interior, eyes.
    """
    skin = np.zeros(len(vertices_v3), bool)
    skin[np.unique(triangles_f3[material_f == 0])] = True
    eyeballs = np.zeros(len(vertices_v3), bool)
    eyeballs[np.unique(triangles_f3[material_f == 1])] = True
    openness_v = openness(vertices_v3, triangles_f3)
    interior = skin & (known.get("interior", np.zeros_like(skin)) | (openness_v < OPEN))
    skin &= ~interior
    normals_z = _normals(vertices_v3, triangles_f3)[:, 2]
    front = skin & (normals_z > 0.05)

    def within(outline: tuple[int, ...]) -> Mask:
        return front & inside(vertices_v3[:, :2], points_l3[list(outline), :2])

    side = points_l3[[234, 454]]
    chin, top = points_l3[152], points_l3[10]
    x, y, z = vertices_v3.T
    # The jaw's edge rises from the chin to the ears.
    back = np.mean(side[:, 2])
    rise = np.clip((chin[2] - z) / (chin[2] - back), 0, 1)
    jaw = chin[1] - 4 + rise * (np.mean(points_l3[[58, 288], 1]) - chin[1])
    ears = skin & known.get("ears", (np.abs(x) > np.max(np.abs(side[:, 0]))) & (z < back + 5))
    head = skin & ~ears
    face = head & (y > jaw) & (y < top[1] + 4) & (z > back - 6)
    lips = skin & known.get("lips", within(skin_mask.LIPS))
    brows = within(skin_mask.LEFT_BROW) | within(skin_mask.RIGHT_BROW)
    nose, mouth = within(_NOSE) & face, (within(_MOUTH) | lips) & face
    brow_line = np.mean(points_l3[list(skin_mask.LEFT_BROW + skin_mask.RIGHT_BROW), 1])
    eye_line = np.mean(points_l3[list(skin_mask.LEFT_EYE + skin_mask.RIGHT_EYE), 1])
    lids = known.get("eyes", within(skin_mask.LEFT_EYE) | within(skin_mask.RIGHT_EYE))
    masks = {
        "skin": skin,
        "lips": lips,
        "eyes": eyeballs | (lids & skin),
        "ears": ears,
        "scalp": head & ~face & (y > jaw) & ((y > top[1]) | (z < back)) & (y > eye_line - 70),
        "brows": brows,
        "neck": head & ~face & ((y <= jaw) | (y <= eye_line - 70)),
        "nose": nose,
        "mouth": mouth,
        "forehead": face & (y > brow_line),
        "cheek": face & (y < eye_line - 12) & ~nose & ~mouth & (y > chin[1] + 8),
        "face": face,
        "interior": interior,
    }
    return np.stack([masks[name] for name in NAMES])


def openness(vertices_v3: Array, triangles_f3: npt.NDArray[np.int64], rays: int = 48) -> Array:
    """Share (V) of the cosine-weighted hemisphere over a vertex in which the outside is visible."""
    import trimesh

    mesh = trimesh.Trimesh(vertices_v3, triangles_f3, process=False)
    normals = _normals(vertices_v3, triangles_f3)
    generator = np.random.default_rng(0)
    open_v = np.zeros(len(vertices_v3))
    for _ in range(rays):
        way = generator.normal(size=normals.shape)
        way = way / np.linalg.norm(way, axis=1, keepdims=True) + 1.01 * normals
        open_v += ~mesh.ray.intersects_any(vertices_v3 + 0.05 * normals, way)
    return open_v / rays


def _normals(vertices_v3: Array, triangles_f3: npt.NDArray[np.int64]) -> Array:
    normals: Array = vertex_normals(torch.tensor(vertices_v3)[None], torch.tensor(triangles_f3))[0].numpy()
    return normals
