"""Compute the fields of a head file from a source's geometry: landmarks, regions, parts, and a chart if it has none."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from mosar.datasets.head_building import landmark_embedding, region_labels
from mosar.datasets.head_building.uv_density import intended_scale
from mosar.datasets.head_building.uv_parameterization import parameterize
from mosar.models.face_outlines import LANDMARKS
from mosar.models.head import Head

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

PARTS = ("face", "eyes", "nose", "mouth", "ears", "head")
_PASSES = (0.3, 0.3, 1.0)  # share of the views per pass: each draws brows and hair where the pass before found them


def build(source: Mapping[str, Any], known: Mapping[str, Mask], views: int, seed: int) -> dict[str, Any]:
    """All fields of a head.

    Args:
        source: fields of a head without landmarks, regions and parts; ``mirror_v`` is optional. Without
            ``uv_triangles_f3`` a chart of the skin is made, and ``uv_w2`` places the vertices of the other materials.
        known: masks (V) of the skin that the source has, see :func:`mosar.datasets.head_building.region_labels.label`.
        views: number of renders from which the landmarks are embedded.
    """
    template, triangles, material = (
        source["template_v3"].astype(np.float64),
        source["triangles_f3"],
        source["material_f"],
    )
    fields: dict[str, Any] = {
        "mirror_v": mirror(template),
        "uv_w2": np.zeros((len(template), 2), np.float32),
        "uv_triangles_f3": triangles,
        "landmark_triangle_l": np.full(LANDMARKS, -1),
        "landmark_barycentric_l3": np.zeros((LANDMARKS, 3), np.float32),
        "landmark_weight_l": np.zeros(LANDMARKS, np.float32),
        "region_names": tuple(known),
        "regions_rv": np.array(list(known.values()), bool).reshape(len(known), len(template)),
        "part_names": PARTS,
        "part_v": np.zeros(len(template), np.int64),
        **source,
    }
    for i, share in enumerate(_PASSES):
        head = Head(digest=f"pass {i}", **fields)
        found = landmark_embedding.embed(
            head, landmark_embedding.detect_views(head, max(int(views * share), 12), seed + i)
        )
        points_l3 = (template[triangles[found.triangle_l]] * found.barycentric_l3[..., None]).sum(1)
        regions_rv = region_labels.label(template, triangles, material, points_l3, known)
        fields |= {**found.fields(), "regions_rv": regions_rv, "region_names": region_labels.NAMES}
    fields["part_v"] = parts(
        template, triangles, material, dict(zip(region_labels.NAMES, fields["regions_rv"], strict=True))
    )
    if "uv_triangles_f3" not in source:
        fields |= _chart(fields)
    return fields


def parts(template_v3: Array, triangles_f3: Index, material_f: Index, masks: Mapping[str, Mask]) -> Index:
    """Part (V) of every vertex; a hidden vertex belongs to the part of the nearest visible skin."""
    part_v = np.full(len(template_v3), PARTS.index("head"))
    part_v[masks["face"]] = PARTS.index("face")
    for name in ("nose", "mouth", "ears", "eyes"):
        part_v[masks[name]] = PARTS.index(name)
    part_v[masks["lips"]] = PARTS.index("mouth")
    seen = masks["skin"]
    hidden = masks["interior"]
    part_v[hidden] = part_v[seen][cKDTree(template_v3[seen]).query(template_v3[hidden])[1]]
    for material, name in ((1, "eyes"), (2, "mouth")):
        part_v[np.unique(triangles_f3[material_f == material])] = PARTS.index(name)
    return part_v


def mirror(template_v3: Array) -> Index:
    """For each vertex (V), the vertex nearest to its mirror image."""
    return np.asarray(cKDTree(template_v3).query(template_v3 * [-1, 1, 1])[1], np.int64)


def _chart(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A new chart of the skin; the vertices of other materials keep their ``uv_w2`` of the source."""
    skin_f = fields["material_f"] == 0
    skin_f3, others_f3 = fields["triangles_f3"][skin_f], fields["triangles_f3"][~skin_f]
    scale_f = intended_scale(skin_f3, fields["region_names"], fields["regions_rv"])
    uv_w2, uv_f3 = parameterize(fields["template_v3"].astype(np.float64), skin_f3, fields["mirror_v"], scale_f)
    kept_v, others_local = np.unique(others_f3, return_inverse=True)
    uv_triangles_f3 = np.empty_like(fields["triangles_f3"])
    uv_triangles_f3[skin_f] = uv_f3
    uv_triangles_f3[~skin_f] = others_local.reshape(-1, 3) + len(uv_w2)
    return {
        "uv_w2": np.concatenate([uv_w2, fields["uv_w2"][kept_v]]).astype(np.float32),
        "uv_triangles_f3": uv_triangles_f3,
    }
