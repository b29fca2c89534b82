"""Measure how well a classifier tells rendered captures from real portraits (AUC); writes a sheet of both side by side.

The portraits are read from the folder ``MOSAR_PORTRAITS`` and copied only into the sheet.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mosar.datasets import lights
from mosar.datasets.png import png
from mosar.datasets.virtual_stage.renderers import Renderer, check
from mosar.errors import ConfigError, PhotographError
from mosar.jobs.sources.photographs import split_of
from mosar.platform import storage

Pictures = NDArray[np.uint8]
CROP = 64
_FIRST = 900 * 10**9
"""Seed of the first person who is rendered."""
_QUALITY = 80
_FOLDS = 5


@dataclass(frozen=True)
class Config:
    """Attributes:

    count: number of captures, and of portraits.
    renderer: fast or path.
    storage: root below which ``evaluations/realism.png`` is written; default: MOSAR_STORAGE, else ~/.mosar.
    """

    count: int = 48
    renderer: Renderer = "fast"
    storage: str | None = None

    def __post_init__(self) -> None:
        if self.count < 2 * _FOLDS:
            raise ConfigError(f"count: got {self.count}, expected at least {2 * _FOLDS}")


def evaluate(config: Config) -> dict[str, Any]:
    """Return ``realism_auc`` of as many captures as portraits, and the location of the sheet of both."""
    check(config.renderer)
    pictures = captures(config.count, config.renderer)
    value, reason = realism_auc(pictures)
    metrics: dict[str, Any] = {"realism_auc": value}
    if reason:
        return metrics | {"reason": reason}
    metrics["sheet"] = storage.join(storage.root(config.storage), "evaluations", "realism.png")
    storage.write_bytes(metrics["sheet"], _sheet(pictures, portraits(config.count)[0]))
    return metrics


def captures(count: int, renderer: Renderer = "fast", size: int = 192) -> list[Pictures]:
    """Images (size, size, 3), sRGB, of people who are in no data set, under any light."""
    from mosar.datasets.virtual_stage import skin
    from mosar.datasets.virtual_stage.capture import VirtualStage, capture
    from mosar.datasets.virtual_stage.subjects import sample_subject
    from mosar.datasets.virtual_stage.uv_regions import atlas
    from mosar.models.head import load_head

    head = load_head()
    stage = VirtualStage(head, 256, size, (*lights.TRAIN_LIGHTS, *lights.HELD_OUT_LIGHTS), renderer)
    found: list[Pictures] = []
    for seed in range(_FIRST, _FIRST + count):
        person = sample_subject(head, seed)
        sample, _ = capture(stage, person, skin.paint(atlas(head, 256), person), 0)
        found.append(sample["image"])
    return found


def portraits(count: int, size: int = 192) -> tuple[list[Pictures], str | None]:
    """Return up to ``count`` official portraits, cropped like captures; or none, and the reason.

    Portraits of the validation split are left out: avatars are evaluated on them, and nothing else may see them.
    """
    from mosar.datasets.in_the_wild import in_the_wild_sample
    from mosar.datasets.landmarks import Detector

    folder = os.environ.get("MOSAR_PORTRAITS")
    if not folder or not Path(folder).is_dir():
        return [], "MOSAR_PORTRAITS is not set to a folder of portraits"
    paths = [path for path in sorted(Path(folder).glob("*.jpg")) if split_of(path.stem) != "validation"]
    found: list[Pictures] = []
    with Detector() as detector:
        for index in np.linspace(0, len(paths) - 1, min(2 * count, len(paths))).astype(int):
            if len(found) == count:
                break
            try:
                found.append(in_the_wild_sample(paths[index].read_bytes(), detector, size)["image"])
            except PhotographError:
                continue
    return (found, None) if len(found) >= 2 * _FOLDS else ([], f"{folder} has only {len(found)} usable faces")


def realism_auc(rendered: Sequence[Pictures]) -> tuple[float | None, str | None]:
    """AUC of a classifier that tells captures (square crops, sRGB) from portraits; or None, and the reason.

    The classifier is a cross-validated logistic regression on principal components of crops of 64 pixels, their spectra
    and colours. Both kinds are first brought to one size, sharpness and JPEG quality. 0.5 is perfect, 1 is worst.
    """
    real, reason = portraits(len(rendered))
    if reason:
        return None, reason
    kinds = [np.stack([_alike(picture) for picture in pictures]) for pictures in (rendered, real)]
    truth = np.repeat([1.0, 0.0], [len(k) for k in kinds])
    features = np.stack([_features(picture) for picture in np.concatenate(kinds)])
    order = np.random.default_rng(0).permutation(len(truth))
    scores = np.zeros(len(truth))
    for fold in np.array_split(order, _FOLDS):
        rest = np.setdiff1d(order, fold)
        scores[fold] = _predict(features[rest], truth[rest], features[fold])
    positive, negative = scores[truth == 1], scores[truth == 0]
    wins = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    return float(wins), None


def _alike(picture: Pictures) -> Pictures:
    """Return the middle of a crop at 64 pixels, with the same sharpness and JPEG quality for all images."""
    height, width = picture.shape[:2]
    middle = picture[height // 8 : height - height // 8, width // 8 : width - width // 8]
    small = cv2.resize(middle, (48, 48), interpolation=cv2.INTER_AREA)
    same = cv2.resize(small, (CROP, CROP), interpolation=cv2.INTER_LINEAR)
    done, data = cv2.imencode(".jpg", same, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _features(picture: Pictures) -> NDArray[np.float64]:
    """Features of an image: a small version, the logarithm of the spectrum, and the quantiles of the colours."""
    values = picture.astype(np.float64) / 255
    small = cv2.resize(values, (24, 24), interpolation=cv2.INTER_AREA)
    grey = values.mean(-1) - values.mean()
    spectrum = np.log(1e-3 + np.abs(np.fft.rfft2(grey * np.outer(np.hanning(CROP), np.hanning(CROP))))[:24, :24])
    colours = np.quantile(values.reshape(-1, 3), np.linspace(0.05, 0.95, 7), axis=0)
    parts = [small.ravel() - small.mean(), 0.1 * spectrum.ravel(), colours.ravel()]
    return np.concatenate([part / np.sqrt(part.size) for part in parts])


def _predict(
    known_nf: NDArray[np.float64], truth_n: NDArray[np.float64], asked_mf: NDArray[np.float64], components: int = 24
) -> NDArray[np.float64]:
    """Ridge-regularised logistic regression by Newton steps, on the principal components of the training samples."""
    mean = known_nf.mean(0)
    axes = np.linalg.svd(known_nf - mean, full_matrices=False)[2][:components].T
    scale = ((known_nf - mean) @ axes).std(0) + 1e-9

    def project(features: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([(features - mean) @ axes / scale, np.ones(len(features))])

    x, weight = project(known_nf), np.zeros(axes.shape[1] + 1)
    for _ in range(20):
        guess = 1 / (1 + np.exp(-(x @ weight)))
        curvature = x.T * (guess * (1 - guess)) @ x + np.eye(len(weight))
        weight = weight + np.linalg.solve(curvature, x.T @ (truth_n - guess) - weight)
    return np.asarray(project(asked_mf) @ weight)


def _sheet(rendered: Sequence[Pictures], real: Sequence[Pictures], columns: int = 6) -> bytes:
    """Captures on the left, portraits on the right."""

    def block(pictures: Sequence[Pictures]) -> Pictures:
        rows = len(pictures) // columns
        return np.concatenate([np.concatenate(pictures[r * columns : (r + 1) * columns], 1) for r in range(rows)])

    left, right = block(rendered), block(real)
    rows = min(len(left), len(right))
    return png(np.concatenate([left[:rows], np.full((rows, 24, 3), 255, np.uint8), right[:rows]], 1))
