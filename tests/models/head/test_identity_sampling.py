import dataclasses

import numpy as np
import torch

from mosar.models.head import load_head, sample_identity
from mosar.models.head.head import MAKEHUMAN_PATH
from mosar.models.head.identity_sampling import SCANNED, scan_modes


def test_people_are_reproducible_and_different(head):
    a, b = (sample_identity(head, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a.archetype_a, b.archetype_a)
    assert torch.equal(a.mode_m, b.mode_m)
    other = sample_identity(head, torch.Generator().manual_seed(4))
    assert not torch.equal(a.mode_m, other.mode_m)


def test_most_people_are_scanned_and_the_others_widen_them(head):
    generator = torch.Generator().manual_seed(0)
    people = [sample_identity(head, generator) for _ in range(800)]
    archetypes, modes = torch.stack([p.archetype_a for p in people]), torch.stack([p.mode_m for p in people])
    assert torch.allclose(archetypes.sum(1), torch.ones(800))
    alone = archetypes[:, head.archetype_names.index(SCANNED)] == 1
    assert 0.7 < float(alone.float().mean()) < 0.8
    of_scans = torch.from_numpy(scan_modes(head))
    assert of_scans.sum() == 100
    assert (modes[alone][:, ~of_scans] == 0).all()
    np.testing.assert_allclose(modes[alone][:, of_scans].std(0).numpy(), 1.0, atol=0.12)
    np.testing.assert_allclose(modes[~alone][:, of_scans].std(0).numpy(), 0.7, atol=0.15)
    assert (modes[~alone][:, ~of_scans].std(0) > 0).all()
    children = [name.endswith("child") for name in head.archetype_names]
    assert 0.08 < float(archetypes[~alone][:, children].sum(1).mean()) < 0.25


def test_the_share_of_scanned_people_is_the_callers(head):
    generator, at = torch.Generator().manual_seed(0), head.archetype_names.index(SCANNED)
    for share in (0.0, 1.0):
        assert {float(sample_identity(head, generator, share).archetype_a[at]) for _ in range(20)} == {share}


def test_people_are_mixtures_of_all_ancestries_sexes_and_ages():
    head, generator = load_head(MAKEHUMAN_PATH), torch.Generator().manual_seed(0)
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
