"""Frames of glasses, followed from the parts that the segmentation finds."""

import numpy as np
import pytest
import torch

from mosar.models import face_outlines
from mosar.models.face_classes import CLASSES
from mosar.models.reconstruct.frames import frames, share_near_eyes
from mosar.models.reconstruct.seen import BASE, _continued, _small

SIDE = 300
EYES = ((100.0, 150.0), (200.0, 150.0))
Y, X = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
RADIUS = ((X - EYES[0][0]) ** 2 + (Y - EYES[0][1]) ** 2).sqrt(), ((X - EYES[1][0]) ** 2 + (Y - EYES[1][1]) ** 2).sqrt()
RIMS = ((RADIUS[0] - 32).abs() < 2) | ((RADIUS[1] - 32).abs() < 2)
BRIDGE = ((Y - 150).abs() < 2) & ((X - 150).abs() < 18)
ARM = ((Y - 140).abs() < 5) & (X > 232) & (X < 265)
BROWS = ((Y - 106).abs() < 8) & ((X - 100).abs() < 30)


@pytest.fixture
def landmarks():
    points = torch.zeros(1, 478, 2)
    points[:, list(face_outlines.RIGHT_EYE)], points[:, list(face_outlines.LEFT_EYE)] = torch.tensor(EYES)[:, None]
    points[0, 127], points[0, 356] = torch.tensor([30.0, 150.0]), torch.tensor([270.0, 150.0])
    points[0, 10], points[0, 152] = torch.tensor([150.0, 20.0]), torch.tensor([150.0, 290.0])
    return points


@pytest.fixture
def crop():
    """A face with dark frames, one arm as thick as a finger, a brow, and a mole beside the nose."""
    image = torch.full((1, 3, SIDE, SIDE), 0.6)
    image[:, :, RIMS | BRIDGE] = 0.35
    image[:, :, ARM | BROWS] = 0.1
    image[:, :, 200:204, 148:152] = 0.2
    return image


def classes(**probability_of_hw):
    """Probabilities of the given classes; the rest is skin."""
    found = torch.zeros(1, len(CLASSES), SIDE, SIDE)
    for name, probability in probability_of_hw.items():
        found[0, CLASSES.index(name)] = probability
    found[0, CLASSES.index("skin")] = 1.0 - found[0].sum(dim=0)
    return found


def test_frames_are_followed_from_the_parts_that_are_found(crop, landmarks):
    sure = RIMS & (X < 120)  # a part of one rim
    hinge = ARM & (X < 242)
    glasses = torch.where(sure, 0.8, torch.where(RIMS | BRIDGE | hinge, 0.2, 0.0))
    found = frames(crop, classes(glasses=glasses, brows=0.9 * BROWS), landmarks)
    assert found.shape == (1, 1, SIDE, SIDE)
    covered = found[0, 0] > 0
    assert bool(covered[RIMS | BRIDGE].all())
    assert bool(covered[ARM].all())  # most of it is a line that nothing found
    assert not bool(covered[BROWS].any())
    near = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    near[198:206, 146:154] = True
    assert not bool(covered[near].any())  # the mole
    assert not bool(covered[torch.minimum(*RADIUS) < 22].any())  # what shows through the lenses
    assert float(covered.float().mean()) < 3 * float((RIMS | BRIDGE | ARM).float().mean())


def test_lines_on_skin_are_no_frames(crop, landmarks):
    glasses = torch.where(RIMS | BRIDGE, 0.3, 0.0)  # possible everywhere, certain nowhere
    assert float(frames(crop, classes(glasses=glasses), landmarks).max()) == 0


def test_what_is_certain_needs_no_line(crop, landmarks):
    found = frames(torch.full_like(crop, 0.6), classes(glasses=0.9 * RIMS), landmarks)
    assert bool((found[0, 0] > 0)[RIMS].all())


def test_glasses_count_near_the_eyes_only():
    points = torch.zeros(478, 2)
    points[list(face_outlines.LEFT_EYE)] = torch.tensor([60.0, 40.0])
    points[list(face_outlines.RIGHT_EYE)] = torch.tensor([40.0, 40.0])
    number = CLASSES.index("glasses")
    found = torch.zeros(100, 100, dtype=torch.uint8)
    found[60:], found[:, :20] = number, number
    assert share_near_eyes(found, points) == 0
    found[38:42, 30:70] = number
    assert share_near_eyes(found, points) == pytest.approx(4 * 40 / (20 * 20 + np.pi * 100), rel=0.05)


def test_the_skin_goes_on_below_frames_and_nowhere_else():
    """A thin line over a slope of colours takes those beside it; a hole that no frame makes stays one."""
    slope = torch.linspace(0.2, 0.6, 2 * BASE)[None, :].expand(2 * BASE, -1)
    colour, weight = slope.expand(1, 3, -1, -1).clone(), torch.ones(1, 1, 2 * BASE, 2 * BASE)
    line, hole = (torch.zeros_like(weight, dtype=torch.bool) for _ in range(2))
    line[..., 500:508] = True
    hole[..., 700:720, :] = True
    weight[line | hole] = 0.0
    dirty = torch.where(line | hole, 0.0, colour)
    framed = (line & ~hole).float()
    small_weight, small_colour = _small(dirty, weight)
    found, whole = _continued(dirty, weight, framed, small_colour, small_weight)
    assert torch.equal(whole, 1.0 - hole.float())
    assert float((found - colour)[(line & ~hole).expand_as(colour)].abs().max()) < 0.01
    seen = (~line & ~hole).expand_as(colour)
    assert torch.equal(found[seen], colour[seen])
    assert not found[hole.expand_as(colour)].any()
