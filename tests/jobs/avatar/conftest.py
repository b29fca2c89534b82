"""Captures with truth, made on the spot: two people, the first under two lights."""

from dataclasses import replace

import pytest
import torch

from mosar.datasets import schema
from mosar.datasets.landmarks import Detector
from mosar.datasets.virtual_stage import skin
from mosar.datasets.virtual_stage.capture import VirtualStage, capture
from mosar.datasets.virtual_stage.subjects import sample_subject
from mosar.datasets.virtual_stage.uv_regions import atlas
from mosar.jobs.evaluation.avatar import texels
from mosar.jobs.evaluation.avatar.prior import load_prior
from mosar.jobs.evaluation.avatar.truth import capture_of
from mosar.models.head import load_head

MAPS, PICTURE = 128, 192
PEOPLE = ((2_000_000_001, 0, "studio"), (2_000_000_001, 1, "courtyard"), (2_000_000_005, 0, "studio"))


@pytest.fixture(scope="session")
def captures():
    """Three captures of two people, with truth."""
    head = load_head()
    found = []
    for seed, number, light in PEOPLE:
        person = sample_subject(head, seed)
        painted = skin.paint(atlas(head, MAPS), person)
        sample, _ = capture(VirtualStage(head, MAPS, PICTURE, (light,)), person, painted, number)
        sample["capture"]["split"] = "test"
        found.append(capture_of("a capture", f"{seed}-{number}", schema.encode(sample), head))
    return found


@pytest.fixture(scope="session")
def detected(captures):
    """The detector's points (478, 2) in each capture."""
    with Detector() as detector:
        faces = [detector.detect(c.photograph_hw3) for c in captures]
    assert all(len(found) == 1 for found in faces), "choose people in whom the detector finds a face"
    return [found[0].landmarks[:, :2] for found in faces]


@pytest.fixture(scope="session")
def prior():
    return load_prior(load_head())


@pytest.fixture(scope="session")
def estimates(captures):
    """A good reconstruction of each capture: the truth with a smoothed albedo and a slightly wrong mesh and pose."""
    found = []
    for number, c in enumerate(captures):
        truth = c.truth
        wave = 0.4 * torch.sin(truth.neutral_1v3 / 15.0 + number)
        low = texels.at_size(texels.at_size(truth.maps.diffuse, 32), MAPS)
        found.append(
            replace(
                truth,
                neutral_1v3=truth.neutral_1v3 + wave,
                vertices_1v3=truth.vertices_1v3 + wave,
                maps=replace(truth.maps, diffuse=0.96 * low),
            )
        )
    return found
