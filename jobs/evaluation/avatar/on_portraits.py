"""The evaluation of photographs without truth: what an actor does with a chunk of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.avatar import Avatar
from mosar.datasets.photographs import read_photograph
from mosar.datasets.polygons import inside
from mosar.datasets.skin_mask import skin_mask
from mosar.errors import PhotographError
from mosar.jobs.evaluation.avatar import drifts, likeness, pictures, points, shape, sheets, texels
from mosar.jobs.evaluation.avatar.on_truth import another
from mosar.jobs.evaluation.avatar.reconstruction import Bench, Result
from mosar.jobs.evaluation.avatar.record import Record
from mosar.jobs.evaluation.avatar.rows import AVERAGE, OURS, as_pictured, build_rows, photograph_of
from mosar.jobs.evaluation.judges.load import Judges
from mosar.jobs.evaluation.judges.load import load as load_judges
from mosar.jobs.sources import image_files
from mosar.jobs.sources.image_files import Picture
from mosar.models.colour import to_linear
from mosar.models.uv import unwrap

Image = NDArray[np.uint8]
Values = dict[str, dict[str, float]]

_GREY = np.full(3, 128, np.uint8)
_FEW = 200
_TURN_DEGREES = 30.0


@dataclass(frozen=True)
class Task:
    """A photograph; ``drifted``: also measure how the avatar drifts when it is photographed again."""

    picture: Picture
    drifted: bool


@dataclass(frozen=True)
class OnPortraits:
    """Start of an actor: ``bundle``'s location, the storage root of the judges, whether sheets are drawn."""

    bundle: str
    storage: str
    sheets: bool = True

    def __call__(self) -> "Worker":
        return Worker(self, Bench(self.bundle), load_judges(self.storage))


class Worker:
    """Evaluates chunks: each photograph's "another person" is the next one of the chunk."""

    def __init__(self, about: OnPortraits, bench: Bench, judge: Judges | None) -> None:
        self.about, self.bench, self.judge = about, bench, judge

    def close(self) -> None:
        """Close the detectors."""
        self.bench.close()

    @torch.no_grad()
    def __call__(self, chunk: Sequence[Task]) -> list[Record]:
        results = [self._reconstruct(task) for task in chunk]
        others = another([task.picture.label for task in chunk], results)
        return [self._record(*of) for of in zip(chunk, results, others, strict=True)]

    def _reconstruct(self, task: Task) -> Result:
        try:
            image = read_photograph(image_files.read_image_file(task.picture))
        except PhotographError as error:
            return Result(None, np.zeros((478, 2), np.float32), 0.0, str(error).partition(";")[0])
        return self.bench.reconstruct(image)

    def _record(self, task: Task, result: Result, other: Avatar | None) -> Record:
        name = task.picture.name
        if result.avatar is None:
            return Record(name, name, result.failure)
        ours = result.avatar
        rows = build_rows(ours, result.points_n2, self.bench.prior, other)
        view = pictures.view_of(photograph_of(ours), result.points_n2)
        values, arrays = portrait_measures(rows, view, result.points_n2, self.judge)
        _add(values, self._withheld(result, other))
        if task.drifted:
            _add(values, self._drifted(result, rows))
            _add(values, self._half_hidden(result, other))
        pitch, yaw = _pitch_and_yaw(ours)
        hull = skin_mask(view.points_n2, *view.size) > 0
        tone = texels.lab(to_linear(torch.from_numpy(view.image_hw3[hull]).float() / 255.0))[:, 0].mean()
        facts = {"yaw": yaw, "pitch": pitch, "tone": float(tone)}
        tiles = sheets.portrait_tiles(ours, view) if self.about.sheets else {}
        return Record(name, name, "", result.seconds, facts, values, arrays, tiles)

    def _withheld(self, whole: Result, other: Avatar | None) -> Values:
        """Error of the points of each region when that region is painted over in the photograph; mean over regions."""
        assert whole.avatar is not None
        image = photograph_of(whole.avatar)
        found: dict[str, list[float]] = {}
        for region in points.REGIONS:
            hull = points.region_hull(whole.points_n2, region)
            chosen = points.scored(self.bench.head) & inside(whole.points_n2, hull)
            masked = self.bench.reconstruct(points.covered(image, hull, _mean_colour(image, whole.points_n2)))
            if masked.avatar is None:
                continue
            for row, avatar in build_rows(masked.avatar, masked.points_n2, self.bench.prior, other).items():
                found.setdefault(row, []).append(points.nme(avatar, whole.points_n2, chosen))
        return {row: {"withheld_nme": float(np.mean(errors))} for row, errors in found.items()}

    def _half_hidden(self, whole: Result, other: Avatar | None) -> Values:
        """Error on half the face, painted over, relative to the posed average head's; 1 if no face is detected."""
        assert whole.avatar is not None
        image = photograph_of(whole.avatar)
        ratios: dict[str, list[float]] = {}
        for left in (True, False):
            hull = points.half_hull(whole.points_n2, left)
            chosen = points.scored(self.bench.head) & inside(whole.points_n2, hull)
            masked = self.bench.reconstruct(points.covered(image, hull, _GREY))
            if masked.avatar is None:
                for row in (OURS, AVERAGE):
                    ratios.setdefault(row, []).append(1.0)
                continue
            rows = build_rows(masked.avatar, masked.points_n2, self.bench.prior, other)
            average = points.nme(rows[AVERAGE], whole.points_n2, chosen)
            for row, avatar in rows.items():
                ratios.setdefault(row, []).append(points.nme(avatar, whole.points_n2, chosen) / average)
        return {row: {"hidden_half_over_average": float(np.mean(each))} for row, each in ratios.items()}

    def _drifted(self, whole: Result, rows: Mapping[str, Avatar]) -> Values:
        """Drift of each row's neutral mesh (mm) and albedo (CIEDE2000) when the photograph is taken again."""
        assert whole.avatar is not None
        image = photograph_of(whole.avatar)
        again = {name: drift(image) for name, drift in drifts.DRIFTS.items()}
        again[drifts.TURNED] = pictures.alone(whole.avatar, None, _TURN_DEGREES, max(256, *image.shape[:2]), False)[0]
        found: Values = {}
        for name, photograph in again.items():
            result = self.bench.reconstruct(photograph)
            if result.avatar is None:
                continue
            for row, avatar in build_rows(result.avatar, result.points_n2, self.bench.prior, None).items():
                found.setdefault(row, {}).update(drift_measures(rows[row], avatar, name, whole.avatar))
        return found


def portrait_measures(
    rows: Mapping[str, Avatar], view: pictures.View, points_n2: NDArray[np.floating], judge: Judges | None
) -> tuple[Values, dict[str, dict[str, NDArray[np.float32]]]]:
    """Measures of all rows of one photograph, and the descriptors of the recognition network if there is one."""
    ours = rows[OURS]
    values: Values = {}
    arrays: dict[str, dict[str, NDArray[np.float32]]] = {}
    seen = _seen(ours)
    described = likeness.describe(judge, view.image_hw3, view.points_n2) if judge else None
    for row, avatar in rows.items():
        picture = pictures.rendered(as_pictured(row, avatar), view)
        psnr, share = pictures.hull_psnr(picture, view)
        values[row] = {
            "landmark_nme": points.nme(avatar, points_n2, points.scored(ours.head)),
            "render_psnr_db": psnr,
            "mask_share": share,
            **left_right(avatar, *seen),
        }
        if judge is not None and described is not None:
            values[row]["judge_nme"] = likeness.judge_nme(judge, avatar, view)
            over = pictures.over(picture, view.image_hw3)
            arrays[row] = dict(likeness.descriptors(judge, avatar, over, view))
            arrays[row]["photograph_descriptor"] = described
    return values, arrays


def left_right(avatar: Avatar, seen_13hw: torch.Tensor, known_hw: torch.Tensor) -> dict[str, float]:
    """Mean |left - right| at low frequencies of the log albedo, and of the log photograph on the chart."""
    both = known_hw & known_hw.flip(-1)
    if int(both.sum()) < _FEW:
        return {}

    def of(linear_13hw: torch.Tensor) -> float:
        low = texels.low_frequencies(texels.log_luminance(linear_13hw), known_hw)[0, 0]
        return float((low - low.flip(-1))[both].abs().mean())

    return {"albedo_left_right": of(texels.at_size(avatar.maps.diffuse)), "photograph_left_right": of(seen_13hw)}


def drift_measures(before: Avatar, after: Avatar, drift: str, ours: Avatar) -> dict[str, float]:
    """Distance of both neutral meshes (mm, aligned) and albedos (median CIEDE2000), on texels that ours shows."""
    head = before.head
    mesh, albedo = shape.array(after.neutral_1v3), texels.at_size(after.maps.diffuse)
    if drift == drifts.MIRRORED:
        mesh, albedo = mesh[head.mirror_v] * np.array([-1.0, 1.0, 1.0]), albedo.flip(-1)
    found = {f"rephoto_mm_{drift}": shape.vertex_mm(head, mesh, shape.array(before.neutral_1v3))}
    if drift == drifts.TURNED:
        return found
    shown = texels.facial(head) & (_seen(ours)[1])
    pair = (x[0, :, shown].T for x in (albedo, texels.at_size(before.maps.diffuse)))
    return found | {f"rephoto_delta_e_{drift}": float(np.median(texels.delta_e(*pair)))}


def _seen(ours: Avatar) -> tuple[torch.Tensor, torch.Tensor]:
    """The photograph on the chart (1, 3, s, s), linear, through our mesh, and the facial texels (s, s) it shows."""
    image = to_linear(torch.from_numpy(photograph_of(ours)).permute(2, 0, 1)[None].float() / 255.0)
    seen, known = unwrap(image, ours.head, ours.vertices_1v3, ours.camera, texels.SIZE)
    return seen, (known[0, 0].float() > 0.5) & texels.facial(ours.head)


def _mean_colour(image_hw3: Image, points_n2: NDArray[np.floating]) -> Image:
    return np.rint(image_hw3[skin_mask(points_n2, *image_hw3.shape[:2]) > 0].mean(0)).astype(np.uint8)


def _pitch_and_yaw(avatar: Avatar) -> tuple[float, float]:
    from mosar.datasets.quality import angles

    yaw, pitch = angles(np.diag([1.0, -1.0, -1.0]) @ avatar.camera.rotation_b33[0].double().numpy())
    return pitch, yaw


def _add(values: Values, more: Mapping[str, Mapping[str, float]]) -> None:
    for row, measures in more.items():
        values.setdefault(row, {}).update(measures)
