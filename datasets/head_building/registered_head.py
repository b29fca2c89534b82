"""Makes a head file of registered scans: their mean, modes and expressions beside the base head's own people."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mosar.datasets.head_building import builder, eyes_and_mouth
from mosar.datasets.head_building.registration import Registered
from mosar.models.head import Head
from mosar.models.head.identity_sampling import SCAN_MODE, SCANNED

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_KNOWN = ("lips", "ears", "interior", "eyes")
_GROWN = ("young", "old")


def build(base: Head, registered: Registered, name: str, views: int, seed: int) -> dict[str, Any]:
    """Fields of the head.

    The template is the scans' mean. Archetype ``scanned`` has no offset; the base head's archetypes follow as offsets
    from its grown people, so that a child is the scans' mean changed as a child differs from grown people. The scans'
    modes come first, then the base head's local ones. Expressions that the scans lack stay those of the base head.
    Landmarks, regions and parts are found anew.

    Args:
        views: number of renders from which the landmarks are embedded.
    """
    grown = [n.split("-")[-1] in _GROWN for n in base.archetype_names]
    centre_v3 = base.archetypes_av3[grown].mean(0) if any(grown) else base.archetypes_av3.mean(0)
    archetypes_av3 = np.concatenate([np.zeros_like(base.archetypes_av3[:1]), base.archetypes_av3 - centre_v3])
    count = len(registered.modes_mv3)
    expressions = [registered.expressions.get(n, base.expressions_ev3[i]) for i, n in enumerate(base.expression_names)]
    fields: dict[str, Any] = {
        "name": name,
        "template_v3": registered.mean_v3.astype(np.float32),
        "archetype_names": (SCANNED, *base.archetype_names),
        "archetypes_av3": archetypes_av3,
        "mode_names": (*(f"{SCAN_MODE}{i:03d}" for i in range(count)), *base.mode_names),
        "mode_std_m": np.concatenate([np.ones(count, np.float32), base.mode_std_m]),
        "modes_mv3": np.concatenate([registered.modes_mv3, base.modes_mv3]),
        "expression_names": base.expression_names,
        "expressions_ev3": np.stack(expressions),
    }
    kept = ["triangles_f3", "material_f", "material_names", "mirror_v", "mouth_albedo_hw3"]
    kept += ["lash_triangle_h", "lash_barycentric_h3", "lash_offset_hk3"]
    fields |= {field: getattr(base, field) for field in kept}
    # The skin gets a new chart; the other materials keep their places on their maps.
    others_f = base.material_f != 0
    place_v2 = np.zeros((len(base.template_v3), 2), np.float32)
    place_v2[base.triangles_f3[others_f]] = base.uv_w2[base.uv_triangles_f3[others_f]]
    eyes = np.unique(base.triangles_f3[(base.material_f == 1) & (base.template_v3[base.triangles_f3[:, 0], 0] > 0)])
    ball_v3 = registered.mean_v3[eyes]
    radius = np.linalg.norm(ball_v3 - ball_v3.mean(0), axis=1).mean() if len(eyes) else None
    fields |= {
        "uv_w2": place_v2,
        "eyes_albedo_hw3": base.eyes_albedo_hw3 if radius is None else eyes_and_mouth.eyes_albedo(float(radius)),
    }
    return builder.build(fields, known_regions(base), views, seed)


def known_regions(base: Head) -> dict[str, Mask]:
    """Regions of the base head that do not depend on its shape."""
    skin = np.zeros(len(base.template_v3), bool)
    skin[np.unique(base.triangles_f3[base.material_f == 0])] = True
    return {name: base.region(name) & skin for name in _KNOWN if name in base.region_names}
