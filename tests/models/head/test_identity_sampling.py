import dataclasses

import numpy as np
import torch

from mosar.models.head import sample_identity


def test_people_are_reproducible_and_different(head):
    a, b = (sample_identity(head, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a.archetype_a, b.archetype_a)
    assert torch.equal(a.mode_m, b.mode_m)
    other = sample_identity(head, torch.Generator().manual_seed(4))
    assert not torch.equal(a.mode_m, other.mode_m)


def test_people_are_mixtures_of_all_ancestries_sexes_and_ages(head):
    generator = torch.Generator().manual_seed(0)
    people = [sample_identity(head, generator) for _ in range(800)]
    archetypes = torch.stack([p.archetype_a for p in people])
    assert torch.allclose(archetypes.sum(1), torch.ones(800))
    assert (archetypes >= 0).all()
    share = {name: float(w) for name, w in zip(head.archetype_names, archetypes.mean(0), strict=True)}

    def of(word):
        return sum(v for n, v in share.items() if word in n.split("-"))

    for ancestry in ("african", "asian", "caucasian"):
        assert 0.25 < of(ancestry) < 0.42
    assert 0.42 < of("female") < 0.58
    assert of("child") < 0.1
    assert 0.35 < of("old") < 0.6
    modes = torch.stack([p.mode_m for p in people])
    np.testing.assert_allclose(modes.std(0).numpy(), head.mode_std_m, rtol=0.15)
    assert (modes.abs() <= 2.5 * torch.tensor(head.mode_std_m) + 1e-6).all()


def test_faces_are_not_symmetric(head):
    asymmetric = [n.endswith("-asymmetry") for n in head.mode_names]
    assert sum(asymmetric) > 30
    modes = head.modes_mv3[asymmetric].astype(np.float64)
    assert np.abs(modes[:, head.mirror_v] * [-1, 1, 1] - modes).max(axis=(1, 2)).min() > 0.1


def test_other_archetypes_are_mixed_too(head):
    renamed = dataclasses.replace(head, archetype_names=tuple(f"scan {i}" for i in range(len(head.archetype_names))))
    person = sample_identity(renamed, torch.Generator().manual_seed(0))
    assert abs(float(person.archetype_a.sum()) - 1) < 1e-5
