"""Carries scanned people over to the topology of a head: mean, modes and expressions.

The visible skin lies on the scans' surface, and its offsets are those of the surface there. Skin inside mouth, nostrils
and lids continues them smoothly. Eyeballs, teeth and tongue follow the scans' own.
Legend: v vertices of the head, n vertices of the scans, m modes, o offsets.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from mosar.datasets.head_building import part_fit, surface_fit
from mosar.datasets.head_building.closest_points import Surface
from mosar.datasets.head_building.scans import Scans, expression_table
from mosar.errors import DataError
from mosar.models.head import Head

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_MATCH_MM = 1.0  # vertices of the visible skin farther from the surface are not on it: they continue their neighbours
_FEWEST = 40  # landmarks in common that a registration needs
_CLEARANCE_MM = 0.2  # least distance of lids from eyeballs
_TONGUE_MM = (0.0, -5.0, -4.0)  # MakeHuman's tongue lies on the lower teeth; at rest it lies behind and below them
_TEETH = ("upper_teeth", "lower_teeth")
_BALLS = ("left_eye", "right_eye")


@dataclass(frozen=True, eq=False)
class Registered:
    """Scans on the head's topology, mm, the origin between the centres of the eyeballs.

    Attributes:
        mean_v3, modes_mv3: average and modes at one standard deviation.
        expressions: offsets by ARKit name.
        table: the scans' names of each expression.
        matched_v: vertices that lie on the scans' surface.
        distance_v: distance to the scans' surface before vertices were put onto it; infinite if unmatched.
        centre_3: the origin in the scans' frame.
    """

    mean_v3: Array
    modes_mv3: npt.NDArray[np.float32]
    expressions: Mapping[str, npt.NDArray[np.float32]]
    table: Mapping[str, tuple[str, ...]]
    matched_v: Mask
    distance_v: Array
    centre_3: Array


def register(head: Head, scans: Scans, landmark_l3: Array, known_l: Mask) -> Registered:
    """Register scans.

    Args:
        head: the topology, with regions ``skin`` and ``interior``.
        landmark_l3: places (478 3) of the detector's landmarks on the scans' mean, mm, the scans' frame.
        known_l: landmarks whose place is reliable.

    Raises:
        DataError: too few landmarks in common.
    """
    chosen = np.flatnonzero(known_l & (head.landmark_triangle_l >= 0))
    if len(chosen) < _FEWEST:
        raise DataError(
            f"{scans.name}: {len(chosen)} landmarks in common with the head, expected at least {_FEWEST}; do the scans "
            "look along +z, +y up, in mm?"
        )
    count, triangles_f3 = len(head.template_v3), head.triangles_f3
    common = surface_fit.Landmarks(
        surface_fit.landmark_rows(
            triangles_f3,
            head.landmark_triangle_l[chosen],
            head.landmark_barycentric_l3[chosen].astype(np.float64),
            count,
        ),
        landmark_l3[chosen],
    )
    surface = Surface(scans.mean_v3, scans.skin_f3)
    skin_v = head.region("skin")
    start_v3 = surface_fit.thin_plate(head.template_v3.astype(np.float64), common)
    found_v3 = surface_fit.fit(start_v3, triangles_f3, surface, skin_v.astype(float), common)
    # Chart and mirrored vertices want symmetric correspondences; the surface keeps what is asymmetric in people.
    middle = _middle(scans, found_v3[skin_v] + found_v3[head.mirror_v][skin_v])
    mirrored_v3 = found_v3[head.mirror_v] * [-1, 1, 1] + [2 * middle, 0, 0]
    symmetric_v3 = (found_v3 + mirrored_v3) / 2
    normals = surface_fit.vertex_normals(symmetric_v3, triangles_f3)
    place_v3, distance_v, triangle_v = surface.closest(symmetric_v3, normals)
    distance_v = np.where(skin_v, distance_v, np.inf)
    matched_v = distance_v < _MATCH_MM
    barycentric_n3 = surface.barycentric(place_v3[matched_v], triangle_v[matched_v])
    at_n3 = scans.skin_f3[triangle_v[matched_v]]

    continued = _Continuation(triangles_f3, matched_v, count)
    mean_v3 = symmetric_v3 + continued((place_v3 - symmetric_v3)[None, matched_v])[0]
    parts = _Parts(head, scans)
    mean_v3 = parts.placed(mean_v3)
    mean_v3 = parts.lids_outside(mean_v3)

    def on_skin(offsets_on3: npt.NDArray[np.float32]) -> Array:
        return np.einsum("okcx,kc->okx", offsets_on3[:, at_n3].astype(np.float64), barycentric_n3)

    modes = parts.moved(continued(on_skin(scans.modes_mv3)), scans.modes_mv3, mean_v3, bends=False)
    table = expression_table(head.expression_names, scans.expressions)
    expressions = {}
    for name, theirs in table.items():
        offset_1n3 = np.sum([scans.expressions[n] for n in theirs], axis=0)[None]
        # Inside mouth and lids the head's own expression is the guide, corrected as the visible skin beside it is.
        own_v3 = head.expressions_ev3[head.expression_names.index(name)].astype(np.float64)
        missing_1k3 = on_skin(offset_1n3) - own_v3[None, matched_v]
        offset_1v3 = own_v3 + continued(missing_1k3)
        expressions[name] = parts.moved(offset_1v3, offset_1n3, mean_v3, bends=True)[0].astype(np.float32)
    if "tongueOut" in head.expression_names and "tongueOut" not in table:
        own_v3 = head.expressions_ev3[head.expression_names.index("tongueOut")].astype(np.float64)
        expressions["tongueOut"] = parts.tongue_out(own_v3).astype(np.float32)
    centre_3 = parts.origin(mean_v3)
    return Registered(mean_v3 - centre_3, modes.astype(np.float32), expressions, table, matched_v, distance_v, centre_3)


def _middle(scans: Scans, sums_v3: Array) -> float:
    """x of the plane of symmetry: between the scans' eyeballs, else between mirrored vertices."""
    balls = [scans.mean_v3[scans.parts[name], 0].mean() for name in _BALLS if name in scans.parts]
    return float(np.mean(balls)) if len(balls) == len(_BALLS) else float(np.median(sums_v3[:, 0]) / 2)


class _Continuation:
    """Continues offsets of the matched vertices to the others: least squared Laplacian."""

    def __init__(self, triangles_f3: Index, matched_v: Mask, count: int) -> None:
        bend = surface_fit.laplacian(triangles_f3, count)
        bend = (bend.T @ bend).tocsr()
        self._matched_v, self._free_v = matched_v, ~matched_v
        free = np.flatnonzero(self._free_v)
        self._across = bend[free][:, np.flatnonzero(matched_v)]
        self._solver = splu((bend[free][:, free] + 1e-9 * sp.eye(len(free))).tocsc())

    def __call__(self, offsets_ok3: Array) -> Array:
        whole = np.zeros((len(offsets_ok3), len(self._matched_v), 3))
        whole[:, self._matched_v] = offsets_ok3
        right = -self._across @ offsets_ok3.transpose(1, 0, 2).reshape(offsets_ok3.shape[1], -1)
        whole[:, self._free_v] = self._solver.solve(right).reshape(-1, len(offsets_ok3), 3).transpose(1, 0, 2)
        return whole


class _Parts:
    """Eyeballs, arches of teeth and tongue of a head, and the scans' parts that they follow."""

    def __init__(self, head: Head, scans: Scans) -> None:
        self._template_v3, self._scans = head.template_v3.astype(np.float64), scans
        self.balls: dict[str, Index] = {}
        template = self._template_v3
        self._skin = np.unique(head.triangles_f3[head.material_f == 0])
        eyes = np.unique(head.triangles_f3[head.material_f == 1])
        for name, side in zip(_BALLS, (1, -1), strict=True):
            if len(own := eyes[side * template[eyes, 0] > 0]):
                self.balls[name] = own
        pieces = _pieces(head.triangles_f3[head.material_f == 2])
        # Two arches, the upper one higher; what else the mouth holds (the tongue) follows the lower arch.
        arches = sorted(pieces, key=lambda piece: float(np.ptp(template[piece, 0])))[-2:]
        arches.sort(key=lambda piece: -float(template[piece, 1].mean()))
        self.mouth = dict(zip(_TEETH, arches, strict=False))
        self.rest = [p for p in pieces if not any(p is arch for arch in arches)]

    def placed(self, mean_v3: Array) -> Array:
        """The mean with its parts at those of the scans; parts that the scans lack keep the thin-plate start."""
        found = mean_v3.copy()
        for name, own in self.balls.items():
            if name in self._scans.parts:
                found[own] = part_fit.place_ball(self._template_v3[own], self._theirs(name))
        for name, own in self.mouth.items():
            if name in self._scans.parts:
                followers = np.concatenate([own, *self.rest]) if name == "lower_teeth" else own
                scale, shift = part_fit.arch_map(self._template_v3[own], self._theirs(name), name == "upper_teeth")
                found[followers] = self._template_v3[followers] * scale + shift
                for piece in self.rest if name == "lower_teeth" else ():
                    found[piece] += _TONGUE_MM
        return found

    def lids_outside(self, mean_v3: Array) -> Array:
        """The mean with skin that lies inside an eyeball pushed out of it."""
        found = mean_v3.copy()
        for own in self.balls.values():
            centre = mean_v3[own].mean(0)
            arm_n3 = mean_v3[self._skin] - centre
            length_n1 = np.linalg.norm(arm_n3, axis=1, keepdims=True)
            least = np.linalg.norm(mean_v3[own] - centre, axis=1).mean() + _CLEARANCE_MM
            found[self._skin] += np.where(length_n1 < least, arm_n3 * (least / length_n1 - 1), 0)
        return found

    def moved(self, offsets_ov3: Array, theirs_on3: npt.NDArray[np.float32], mean_v3: Array, bends: bool) -> Array:
        """Offsets with those of the parts: rigid motions if the expression ``bends`` a joint, else linear."""
        found = offsets_ov3.copy()
        turn, shift = (part_fit.rigid, part_fit.rigid) if bends else (part_fit.similar, part_fit.affine)
        for names, carry in ((self.balls, turn), (self.mouth, shift)):
            for name, own in names.items():
                if name in self._scans.parts:
                    followers = np.concatenate([own, *self.rest]) if name == "lower_teeth" else own
                    part = self._scans.parts[name]
                    found[:, followers] = carry(
                        theirs_on3[:, part].astype(np.float64), self._theirs(name), mean_v3[followers]
                    )
        return found

    def tongue_out(self, offset_v3: Array) -> Array:
        """The head's own expression, from the place at rest that :meth:`placed` gave the tongue."""
        found = offset_v3.copy()
        if "lower_teeth" in self._scans.parts:
            for piece in self.rest:
                found[piece] -= _TONGUE_MM
        return found

    def origin(self, mean_v3: Array) -> Array:
        """The middle between the eyeballs."""
        centres = [mean_v3[own].mean(0) for own in self.balls.values()]
        return np.mean(centres, axis=0) if centres else mean_v3.mean(0)

    def _theirs(self, name: str) -> Array:
        return self._scans.mean_v3[self._scans.parts[name]]


def _pieces(triangles_f3: Index) -> list[Index]:
    """Connected vertices."""
    if not len(triangles_f3):
        return []
    used, flat = np.unique(triangles_f3, return_inverse=True)
    corners = flat.reshape(-1, 3)
    edges = np.concatenate([corners[:, :2], corners[:, 1:]])
    graph = sp.coo_matrix((np.ones(len(edges)), edges.T), (len(used), len(used)))
    count, label = connected_components(graph, directed=False)
    return [used[label == i] for i in range(count)]
