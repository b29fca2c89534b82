"""How well lids keep off eyeballs and lips meet, on people drawn from a head.

Legend: b people, v vertices, n points of the lids.
"""

import numpy as np
import numpy.typing as npt
import torch

from mosar.models.camera import Camera
from mosar.models.head import Head, sample_identity
from mosar.models.head.expression_model import express, expression_model
from mosar.models.head.morph import neutral
from mosar.models.rasterizer import rasterize

Array = npt.NDArray[np.float64]

_BLINKS = (0.0, 0.5, 1.0)
_DEEP_MM = 12.0  # a line of sight that goes this much deeper than the lips before it enters the mouth
_PIXEL_MM = 0.1
_FAR_MM = 4000.0


def contact_metrics(head: Head, people: int = 50, seed: int = 2_000_000) -> dict[str, float]:
    """``lid_in_eye_mm_p99``, and ``lip_gap_mm`` at rest; metrics whose material the head lacks are left out.

    Lids: the 99th percentile, over vertices and triangle centres of their visible skin, people and blinks of 0, 0.5 and
    1, of the depth below the eyeball's mean radius. Lips: the mean height of the slit through which a camera in front
    sees into the mouth, over the columns between the corners of the mouth and over people.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = [sample_identity(head, generator) for _ in range(people)]
    rest_bv3 = neutral(head, torch.stack([p.archetype_a for p in drawn]), torch.stack([p.mode_m for p in drawn]))
    metrics = {}
    blinks = [head.expression_names.index(n) for n in ("eyeBlinkLeft", "eyeBlinkRight") if n in head.expression_names]
    if blinks and expression_model(head, rest_bv3.device, rest_bv3.dtype).eyes:
        metrics["lid_in_eye_mm_p99"] = float(np.percentile(lid_depths(head, rest_bv3, blinks), 99))
    if "mouth" in head.material_names:
        metrics["lip_gap_mm"] = float(np.mean([lip_gap(head, rest_v3) for rest_v3 in rest_bv3]))
    return metrics


def lid_depths(head: Head, rest_bv3: torch.Tensor, blinks: list[int]) -> Array:
    """Depths (n) of points of the lids below the eyeball's mean radius, mm, 0 outside, over people and blinks."""
    depths, seen_v = [], torch.tensor(head.region("skin"))
    triangles_f3 = torch.from_numpy(np.array(head.triangles_f3))
    for strength in _BLINKS:
        weights = torch.zeros(len(rest_bv3), len(head.expression_names))
        weights[:, blinks] = strength
        mesh_bv3 = express(head, rest_bv3, weights)
        for eye in expression_model(head, rest_bv3.device, rest_bv3.dtype).eyes:
            lid_k = eye.lid_k[seen_v[eye.lid_k]]
            lid_f3 = triangles_f3[torch.isin(triangles_f3, lid_k).all(1)]
            centre_b13 = mesh_bv3[:, eye.ball_k].mean(1, keepdim=True)
            radius_b1 = (mesh_bv3[:, eye.ball_k] - centre_b13).norm(dim=-1).mean(1, keepdim=True)
            points = torch.cat([mesh_bv3[:, lid_k], mesh_bv3[:, lid_f3].mean(2)], 1)
            depths.append((radius_b1 - (points - centre_b13).norm(dim=-1)).clamp(min=0).flatten())
    return torch.cat(depths).double().numpy()


def lip_gap(head: Head, mesh_v3: torch.Tensor) -> float:
    """Mean height, mm, of the slit between the lips that a distant camera in front sees."""
    lips_v = torch.tensor(head.region("lips"))
    low, high = mesh_v3[lips_v].min(0).values, mesh_v3[lips_v].max(0).values
    width, height = (int(x) for x in ((high - low)[:2] / _PIXEL_MM).ceil().tolist())
    focal, depth = _FAR_MM / _PIXEL_MM, _FAR_MM + float(high[2])
    centre = (low + high) / 2
    intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    place = torch.tensor([0.0, 0.0, depth]) - rotation @ torch.tensor([float(centre[0]), float(centre[1]), 0.0])
    camera = Camera(intrinsics[None], rotation[None], place[None])
    triangles_f3 = torch.from_numpy(np.array(head.triangles_f3))
    fragments = rasterize(mesh_v3[None].float(), triangles_f3, camera, (height, width))
    face_hw, depth_hw = fragments.pix_to_face[0, ..., 0], fragments.zbuf[0, ..., 0]
    inside = (face_hw >= 0) & (torch.tensor(head.material_f)[face_hw.clamp(min=0)] == 2)
    front_w = torch.where(face_hw >= 0, depth_hw, torch.inf).amin(0)
    inside |= depth_hw > front_w + _DEEP_MM
    return float(inside.sum(0).double().mean() * _PIXEL_MM)
