"""Measure how well head and morphable model carry scanned people. Errors are mm, means over the face and over people.

With the scans' file: ``registration_mm``, distance between the surfaces of registered people and of the originals, both
ways; ``mean_gap_mm``, the same between the model's average scanned person and the scans' mean. Without it these two are
left out. The head needs modes of scans for the others:
``scan_fit_mm``: neutral held-out people, reconstructed from their own codes. ``scan_over_pca``: held-out people with
expressions, reconstructed, over the same by PCA of as many coefficients fitted to people drawn like the model's
training people. ``scan_detected_over_mean``: neutral vertices, after a similarity transform to the truth, of the most
likely person given the detector's points in one textured capture, over those of the average scanned person.
``scan_detected_slope``: slope of the found on the true deviation from that average; a method that always answers the
average has slope 0.
"""

import functools
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosar.datasets.head_building import part_fit
from mosar.datasets.head_building.closest_points import Surface
from mosar.datasets.head_building.region_labels import OPEN, openness
from mosar.datasets.head_building.scans import Scans
from mosar.datasets.virtual_stage.detected_captures import DetectedCaptures, scanned_captures
from mosar.errors import ConfigError
from mosar.jobs.evaluation import morphable_model
from mosar.jobs.register_scans import read_scans
from mosar.models.head import Head, load_head, sample_identity
from mosar.models.head.expression_model import express
from mosar.models.head.expression_sampling import sample_expression
from mosar.models.head.identity_sampling import SCANNED, scan_modes
from mosar.models.head.morph import neutral
from mosar.models.morphable.detected_fit import fit_detected, landmark_model
from mosar.models.morphable.detector_error import DetectorError, yaw_pitch
from mosar.models.morphable.fitting import Faces
from mosar.models.morphable.network import Morphable
from mosar.models.morphable.pca import Pca

Array = npt.NDArray[np.float64]

_SEED = 3_000_000
_FIRST_SUBJECT = 910 * 10**9
"""Seed of the first person of the captures; no data set uses it."""
_COMPONENTS = 100  # of the detector's errors
_FOLDS, _WEIGHTS = 3, (0.1, 0.03, 0.01, 0.003)
_DRAWS = 8  # people whose surfaces are compared


@dataclass(frozen=True)
class Config:
    """Attributes:

    scans: file or folder of scans, as for jobs/register_scans.py; default: MOSAR_SCANS.
    unit_mm: length of one unit of a folder's OBJ files, mm.
    weights: name of a finished run of stage morphable; by default the shipped model.
    head: head file to use instead of the default.
    people: number of held-out people.
    training: number of people to which PCA is fitted.
    captures: textured captures from which people are found; 0 leaves these metrics out.
    error_captures: captures to which the model of the detector's errors is fitted.
    image_size: side of a capture, pixels.
    storage: root of the runs; default: MOSAR_STORAGE, else ~/.mosar.
    """

    scans: str | None = None
    unit_mm: float = 1.0
    weights: str | None = None
    head: str | None = None
    people: int = 200
    training: int = 8192
    captures: int = 200
    error_captures: int = 200
    image_size: int = 256
    storage: str | None = None

    def __post_init__(self) -> None:
        if min(self.people, self.training) < 2 or self.captures < 0 or self.error_captures < 20 or self.image_size < 96:
            raise ConfigError(
                f"got people {self.people}, training {self.training}, captures {self.captures}, error_captures "
                f"{self.error_captures}, image_size {self.image_size}; expected at least 2, 2, 0, 20, 96"
            )


def scans_of(config: Config) -> Scans | None:
    """The scans that the configuration or MOSAR_SCANS names, None if neither does.

    Raises:
        ConfigError, DataError: they cannot be read.
    """
    source = config.scans or os.environ.get("MOSAR_SCANS")
    return read_scans(Path(source), config.unit_mm) if source else None


def evaluate(config: Config) -> dict[str, Any]:
    """Return the metrics by name; see the module docstring."""
    return measure(config, scans_of(config))


@torch.no_grad()
def measure(config: Config, scans: Scans | None) -> dict[str, Any]:
    """The same with scans that were read before."""
    head = load_head(config.head)
    if SCANNED not in head.archetype_names:
        _say(f"head {head.name} has no scanned people: their metrics are left out")
        return {}
    model = morphable_model.model_of(config.weights, config.storage, head)
    metrics: dict[str, Any] = {}
    if scans is not None:
        metrics["registration_mm"] = registration_mm(head, scans)
        metrics["mean_gap_mm"] = surface_distance(head, average_scanned(head, model), scans.mean_v3, scans)
    else:
        _say("registration_mm, mean_gap_mm: skipped without the scans' file; set MOSAR_SCANS or scans=")
    faces = Faces(head)
    people, meshes = _people(head, config.people)
    (identity, _), (expression, _) = model.encode(people, meshes)
    rest = model.neutral_code().expand(len(identity), -1)
    metrics["scan_fit_mm"] = _error(model.decode(identity, rest, faces.vertices_f), faces.of(people))
    sizes = (model.config.identity_codes, model.config.expression_codes)
    pca = Pca.fit(morphable_model.training(head, faces, config.training), sizes)
    metrics["scan_mm"] = _error(model.decode(identity, expression, faces.vertices_f), faces.of(meshes))
    metrics["scan_pca_mm"] = _error(pca.meshes(pca.coefficients(faces.of(people), faces.of(meshes))), faces.of(meshes))
    metrics["scan_over_pca"] = metrics["scan_mm"] / metrics["scan_pca_mm"]
    if config.captures:
        metrics |= _detected(head, model, config)
    return metrics


def registration_mm(head: Head, scans: Scans) -> float:
    """Mean distance between the surfaces of the registered mean and some people, and the originals."""
    of_scans = np.flatnonzero(scan_modes(head))
    weights = np.random.default_rng(_SEED).standard_normal((_DRAWS, len(of_scans)))
    weights[0] = 0
    if len(of_scans) != len(scans.modes_mv3):
        raise ConfigError(f"scans: {len(scans.modes_mv3)} modes, expected the head's {len(of_scans)}")
    ours = head.template_v3 + np.tensordot(weights, head.modes_mv3[of_scans], 1)
    theirs = scans.mean_v3 + np.tensordot(weights, scans.modes_mv3, 1)
    return float(np.mean([surface_distance(head, a, b, scans) for a, b in zip(ours, theirs, strict=True)]))


def surface_distance(head: Head, mesh_v3: Array, original_n3: Array, scans: Scans) -> float:
    """Mean distance of the face's surface to the original's, and back, in mm.

    Points are vertices and centres of the face's triangles, and the original's vertices beside the face that are not
    hidden (in nostrils, for instance).
    """
    original_n3 = original_n3 - _origin(scans)
    face_f3 = head.triangles_f3[head.region("face")[head.triangles_f3].all(1) & (head.material_f == 0)]
    points = np.concatenate([mesh_v3[np.unique(face_f3)], mesh_v3[face_f3].mean(1)])
    there = Surface(original_n3, scans.skin_f3).closest(points)[1]
    skin_f3 = head.triangles_f3[head.material_f == 0]
    mine = Surface(np.asarray(mesh_v3, np.float64), skin_f3)
    theirs = original_n3[np.flatnonzero(_visible(scans))]
    _, back, triangle = mine.closest(theirs)
    on_face = np.asarray(np.isin(skin_f3, np.unique(face_f3)).all(1))[triangle]
    return float((there.mean() + back[on_face].mean()) / 2)


@functools.lru_cache(maxsize=2)
def _visible(scans: Scans) -> npt.NDArray[np.bool_]:
    """Which vertices of the scans' skin are seen from outside, on their mean."""
    used = np.zeros(len(scans.mean_v3), bool)
    used[np.unique(scans.skin_f3)] = True
    return used & (openness(scans.mean_v3, scans.skin_f3) >= OPEN)


@torch.no_grad()
def average_scanned(head: Head, model: Morphable, count: int = 512) -> Array:
    """The neutral mesh (V 3) of the mean identity code of scanned people, each taken with the opposite one."""
    some = _people(head, count, posed=False)[0]
    people = torch.cat([some, 2 * torch.tensor(head.template_v3) - some])
    code = model.encode(people, people)[0][0].mean(0, keepdim=True)
    return model.decode(code, model.neutral_code())[0].double().numpy()


def _origin(scans: Scans) -> Array:
    """The head's origin in the scans' frame: between the eyeballs."""
    balls = [scans.parts[name] for name in ("left_eye", "right_eye") if name in scans.parts]
    if not balls:
        raise ConfigError(f"scans: {scans.name} has no eyeballs, which place the head's origin")
    return np.asarray(np.mean([part_fit.sphere(scans.mean_v3[ball])[0] for ball in balls], axis=0))


def _people(head: Head, count: int, posed: bool = True) -> tuple[Tensor, Tensor]:
    """Neutral meshes and meshes with expressions (n V 3) of scanned people."""
    generator, rng = torch.Generator().manual_seed(_SEED), np.random.default_rng(_SEED)
    drawn = [sample_identity(head, generator, scanned=1.0) for _ in range(count)]
    rest = neutral(head, torch.stack([p.archetype_a for p in drawn]), torch.stack([p.mode_m for p in drawn]))
    if not posed:
        return rest, rest
    weights = torch.from_numpy(np.stack([sample_expression(head, rng) for _ in range(count)]))
    return rest, torch.cat([express(head, r, w) for r, w in zip(rest.split(64), weights.split(64), strict=True)])


def _error(found_nf3: Tensor, truth_nf3: Tensor) -> float:
    return float((found_nf3 - truth_nf3).norm(dim=-1).mean())


def _detected(head: Head, model: Morphable, config: Config) -> dict[str, Any]:
    people = _people(head, 1024, posed=False)[0]
    codes = torch.cat([model.encode(some, some)[0][0] for some in people.split(128)])
    linear, identity_codes = landmark_model(head, model, codes), model.config.identity_codes
    known = scanned_captures(head, _FIRST_SUBJECT, config.error_captures, config.image_size)
    test = scanned_captures(head, _FIRST_SUBJECT + 10**6, config.captures, config.image_size)
    average_f3 = average_scanned(head, model)[head.region("face")]

    def compare(
        captures: DetectedCaptures, of: npt.NDArray[Any], error: DetectorError, weight: float
    ) -> tuple[float, ...]:
        """Error of the found people, of the average one, and the slope; means over the chosen captures."""
        rows = []
        for i in of:
            points_l2, truth_f3 = captures.points_nl2[i, linear.chosen_l], captures.neutral_nv3[i, head.region("face")]
            code = fit_detected(linear, error, points_l2, captures.intrinsics_n33[i], weight).code_c[:identity_codes]
            found_v3 = model.decode(torch.from_numpy(code).float()[None], model.neutral_code())[0].double().numpy()
            found_f3, posed_f3 = (_similar(x, truth_f3) for x in (found_v3[head.region("face")], average_f3))
            wanted = truth_f3 - posed_f3
            slope = ((found_f3 - posed_f3) * wanted).sum() / (wanted**2).sum()
            rows.append((*(np.linalg.norm(x - truth_f3, axis=1).mean() for x in (found_f3, posed_f3)), slope))
        return tuple(np.mean(rows, axis=0).tolist())

    view = torch.stack(yaw_pitch(torch.from_numpy(known.rotation_n33)), dim=1).numpy()
    missed_nl2 = known.errors()[:, linear.chosen_l]
    fold = np.arange(len(view)) % _FOLDS
    # Few captures promise too small errors: the landmarks' weight is tuned on captures left out of the error model.
    found_w = {
        weight: np.mean(
            [
                compare(known, np.flatnonzero(fold == k), _error_model(missed_nl2, view, fold != k), weight)[0]
                for k in range(_FOLDS)
            ]
        )
        for weight in _WEIGHTS
    }
    weight = min(found_w, key=lambda w: float(found_w[w]))
    every = np.ones(len(view), bool)
    found, average, slope = compare(
        test, np.arange(len(test.points_nl2)), _error_model(missed_nl2, view, every), weight
    )
    return {
        "scan_detected_mm": found,
        "scan_mean_mm": average,
        "scan_detected_over_mean": found / average,
        "scan_detected_slope": slope,
        "scan_detected_weight": weight,
        "scan_detected_captures": len(test.points_nl2),
        "scan_undetected": test.missed,
    }


def _error_model(error_nl2: Array, view_n2: Array, chosen: npt.NDArray[np.bool_]) -> DetectorError:
    error = DetectorError(error_nl2.shape[1], _COMPONENTS)
    error.fit(torch.from_numpy(error_nl2[chosen]), *torch.from_numpy(view_n2[chosen].T))
    return error


def _similar(points_n3: Array, goals_n3: Array) -> Array:
    """Points turned, moved and scaled to the goals (Umeyama 1991)."""
    centre, goal = points_n3.mean(0), goals_n3.mean(0)
    left, singular, right = np.linalg.svd((points_n3 - centre).T @ (goals_n3 - goal))
    sign = np.array([1, 1, np.linalg.det(left @ right)])
    scale = (singular * sign).sum() / ((points_n3 - centre) ** 2).sum()
    return np.asarray(scale * (points_n3 - centre) @ (left * sign) @ right + goal)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
