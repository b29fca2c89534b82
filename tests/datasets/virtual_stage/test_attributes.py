"""Sex, age and ancestry of people, told from names or from the scans' modes."""

import numpy as np
import pytest
import torch

from mosar.datasets.virtual_stage.attributes import attributes
from mosar.datasets.virtual_stage.subjects import sample_subject
from mosar.models.head import Head, load_head, sample_identity
from mosar.models.head.head import MAKEHUMAN_PATH
from mosar.models.head.identity_sampling import SCANNED, scan_modes


@pytest.fixture(scope="module")
def head() -> Head:
    return load_head()


def told(head: Head, archetype: dict[str, float], mode_m: np.ndarray | None = None):
    weights = np.array([archetype.get(name, 0.0) for name in head.archetype_names])
    return attributes(head, weights, np.zeros(len(head.mode_names)) if mode_m is None else mode_m)


@pytest.mark.parametrize("path", [None, MAKEHUMAN_PATH])
def test_names_of_archetypes_tell(path) -> None:
    head = load_head(path)
    child = told(head, {"african-female-child": 1.0})
    assert (child.male, child.old, child.darkness) == (0.0, 0.0, 1.0)
    mixed = told(head, {"asian-male-old": 0.5, "asian-female-young": 0.5})
    assert (mixed.male, mixed.old) == (0.5, 0.625)


def test_the_average_scanned_person_is_grown_and_in_between(head: Head) -> None:
    found = told(head, {SCANNED: 1.0})
    assert found.male == pytest.approx(0.5)
    assert 0.4 < found.old < 0.7


def test_scanned_people_differ(head: Head) -> None:
    generator = torch.Generator().manual_seed(0)
    people = [sample_identity(head, generator, scanned=1.0) for _ in range(400)]
    found = [attributes(head, p.archetype_a.numpy(), p.mode_m.numpy()) for p in people]
    male = np.array([f.male for f in found])
    assert 0.35 < (male > 0.5).mean() < 0.65
    assert (np.abs(male - 0.5) > 0.3).mean() > 0.5
    assert np.std([f.old for f in found]) > 0.15


def test_the_regression_tells_sexes_of_archetypes_apart(head: Head) -> None:
    """A man's shape, written in the scans' modes, counts as male; a woman's as female."""
    face = head.region("face")
    modes = head.modes_mv3[scan_modes(head)][:, face].reshape(scan_modes(head).sum(), -1).astype(np.float64)
    for ancestry in ("african", "asian", "caucasian"):
        found = []
        for sex in ("female", "male"):
            offset = head.archetypes_av3[head.archetype_names.index(f"{ancestry}-{sex}-young")][face].ravel()
            code = np.linalg.solve(modes @ modes.T + len(offset) * 0.3 * np.eye(len(modes)), modes @ offset)
            mode_m = np.zeros(len(head.mode_names))
            mode_m[scan_modes(head)] = code
            found.append(told(head, {SCANNED: 1.0}, mode_m).male)
        assert found[1] > found[0] + 0.2


def test_tone_is_nearly_independent_of_shape(head: Head) -> None:
    people = [sample_subject(head, seed) for seed in range(300)]
    suggested = [attributes(head, p.archetype_a, p.mode_m).darkness for p in people]
    correlation = np.corrcoef(suggested, [p.tone[0] for p in people])[0, 1]
    assert 0.0 < correlation < 0.45
