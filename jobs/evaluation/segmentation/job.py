"""Segment every capture of a data set and every portrait, and measure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mosar import bundle
from mosar.datasets import schema
from mosar.datasets.landmarks import Detector
from mosar.datasets.photographs import read_photograph
from mosar.errors import ConfigError, DataError, PhotographError
from mosar.jobs.evaluation.avatar.portraits import find_portraits
from mosar.jobs.evaluation.avatar.truth import Place, locate_set, places
from mosar.jobs.evaluation.segmentation import face, glasses, sheet
from mosar.jobs.evaluation.segmentation.config import Config
from mosar.jobs.evaluation.segmentation.overlaps import Overlaps
from mosar.jobs.progress_bar import with_bar
from mosar.jobs.sources import trained_segmentation
from mosar.jobs.sources.image_files import Picture, read_image_file
from mosar.models.reconstruct.frames import share_near_eyes
from mosar.models.stages.segmentation.network import Segmentation
from mosar.platform import storage
from mosar.platform.data import shards
from mosar.platform.data.manifest import open_manifest
from mosar.platform.storage import digest

_SHOWN = 24
"""Captures on the sheet."""


def evaluate(config: Config) -> dict[str, Any]:
    """Return the metrics by name, and write the sheets."""
    torch.set_num_threads(1)
    root = storage.root(config.storage)
    location = locate_set(config.set, root)
    samples = places(open_manifest(location), config.split)
    pictures = find_portraits(config.portraits, config.names) if config.portraits is not None else []
    labels = glasses.read_labels(config.glasses)
    network = _network(config, root)
    own = config.bundle or config.run or trained_segmentation.RELEASED
    names = [text.rstrip("/").rsplit("/", 1)[-1] for text in (config.set, own)]
    where = storage.join(root, "evaluations", "-".join(["segmentation", *names]))
    with Detector() as detector:
        metrics = _on_captures(location, samples, network, detector, config.threshold, where)
        if pictures:
            metrics |= _on_portraits(pictures, labels, network, detector, config.threshold, where)
    storage.write_json(storage.join(where, "metrics.json"), metrics)
    return metrics


def _network(config: Config, root: str) -> Segmentation:
    if config.bundle is None:
        chosen = trained_segmentation.choose(config.run or trained_segmentation.RELEASED, root)
        if chosen is None:
            raise ConfigError(f"run: got {config.run!r}, expected the name of a finished run of stage segmentation")
        return chosen.load()
    location = bundle.locate(config.bundle, config.storage)
    found = bundle.open_bundle(location).modules.get("segmentation")
    if not isinstance(found, Segmentation):
        raise ConfigError(f"bundle: {location} has no segmentation; reconstructions with it use the shipped one")
    return found


def _on_captures(
    location: str, samples: Sequence[Place], network: Segmentation, detector: Detector, threshold: float, where: str
) -> dict[str, Any]:
    """Overlaps with the truth, of the network and of landmarks alone, and who wears glasses."""
    chosen = set(np.linspace(0, len(samples) - 1, min(_SHOWN, len(samples))).astype(int).tolist())
    overlaps, outline = Overlaps(), Overlaps()
    share: list[float] = []
    worn: list[bool] = []
    tiles: list[NDArray[np.uint8]] = []
    for number, (image, classes) in enumerate(_captures(location, samples)):
        seen = face.find(detector, image)
        if seen is None:
            continue
        truth, found = face.true_classes(seen, classes), face.segmented(network, seen)
        overlaps.add(found, truth)
        outline.add(face.outlined(seen), truth)
        share.append(_glasses(found, seen))
        worn.append(_glasses(truth, seen) > 0)
        if number in chosen:
            words = f"{number}: glasses {share[-1]:.2%}"
            tiles += [sheet.tile(seen.image_hw3, found, words), sheet.tile(seen.image_hw3, truth, "truth")]
    if not share:
        raise DataError(f"{location}: no face is found in any of {len(samples)} captures")
    shown = storage.join(where, "captures.png")
    if tiles:
        storage.write_bytes(shown, sheet.sheet(tiles))
    share_n, worn_n = np.array(share), np.array(worn)
    return {
        "captures": len(samples),
        "not_found": len(samples) - len(share),
        **overlaps.metrics(),
        **outline.metrics("_outline"),
        "captures_with_glasses": int(worn_n.sum()),
        "glasses_right_captures": float(((share_n > threshold) == worn_n).mean()),
        "glasses_threshold": threshold,
        "glasses_threshold_best": glasses.best_threshold(share_n, worn_n),
        "sheet": shown if tiles else None,
    }


def _captures(location: str, samples: Sequence[Place]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Image (h, w, 3) and true classes (h, w) of each sample.

    Raises:
        DataError: a sample has no truth.
    """
    found = open_manifest(location)
    for shard, index in with_bar(samples, "captures"):
        (extent,) = found.extents(shard, [index])
        (members,) = shards.read_samples(found.shard_location(shard), [extent])
        if schema.kind_of(members) != "lightstage":
            raise DataError(f"{location}: sample {extent.key} has no truth; expected a data set of a light stage")
        yield schema.decode_member(members, "image"), schema.decode_member(members, "classes")


def _on_portraits(
    pictures: Sequence[Picture],
    labels: Mapping[str, bool],
    network: Segmentation,
    detector: Detector,
    threshold: float,
    where: str,
) -> dict[str, Any]:
    """Who wears glasses, against the list; a portrait without a found face is answered wrongly."""
    labelled: list[bool] = []
    wrong: list[str] = []
    missing = 0
    tiles: list[NDArray[np.uint8]] = []
    for number, picture in enumerate(with_bar(pictures, "portraits")):
        data = read_image_file(picture)
        label = labels.get(digest.of_bytes(data))
        seen, answer = _face(detector, data), None
        missing += seen is None
        if seen is not None:
            found = face.segmented(network, seen)
            share = _glasses(found, seen)
            answer = share > threshold
            as_listed = label is None or answer == label
            tiles.append(sheet.tile(seen.image_hw3, found, f"{number}: glasses {share:.2%}", not as_listed))
        if label is not None:
            labelled.append(label)
            wrong += [picture.name] if answer != label else []
    if not labelled:
        raise ConfigError("glasses: the list has none of these portraits; expected digests (sha256sum) of their files")
    shown = storage.join(where, "portraits.png")
    if tiles:
        storage.write_bytes(shown, sheet.sheet(tiles))
    return {
        "portraits": len(pictures),
        "portraits_not_found": missing,
        "portraits_labelled": len(labelled),
        "glasses_right": 1 - len(wrong) / len(labelled),
        "glasses_right_outline": labelled.count(False) / len(labelled),
        "glasses_wrong": wrong,
        "sheet_portraits": shown if tiles else None,
    }


def _face(detector: Detector, data: bytes) -> face.Face | None:
    """The face in an image file; None if there is none, or the file is no photograph."""
    try:
        return face.find(detector, read_photograph(data))
    except PhotographError:
        return None


def _glasses(classes_hw: NDArray[np.integer], seen: face.Face) -> float:
    """Share of the pixels near the eyes that are classed as glasses."""
    return share_near_eyes(torch.from_numpy(classes_hw), torch.from_numpy(seen.landmarks_n2))
