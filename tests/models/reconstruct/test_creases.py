import torch

from mosar.models.reconstruct.creases import without_glow

N, SIZE = 32, 64


def face(crease):
    """Even albedo with a mole, and a crease of low occlusion that is this much brighter."""
    average = torch.tensor([0.4, 0.25, 0.2])[:, None, None].expand(3, N, N)[None].clone()
    ao = torch.ones(1, 1, N, N)
    ao[..., 12:20, 12:20] = 0.5
    albedo = 0.5 * average.repeat_interleave(2, -1).repeat_interleave(2, -2)
    albedo[..., 24:40, 24:40] *= torch.tensor(crease)[:, None, None]
    albedo[..., 4:8, 4:8] *= 0.3
    return albedo, ao, average, torch.ones(1, 1, N, N)


def test_a_crease_does_not_glow_and_the_rest_stays():
    albedo, ao, average, known = face((3.0, 2.0, 1.5))
    found = without_glow(albedo, ao, average, known)
    whole = torch.tensor([0.2, 0.125, 0.1])
    torch.testing.assert_close(found[0, :, 32, 32], 1.1 * whole, rtol=0.02, atol=0)
    assert torch.equal(found[..., :16, :16], albedo[..., :16, :16])


def test_detail_in_a_crease_stays_and_dark_creases_are_not_brightened():
    albedo, ao, average, known = face((0.8, 0.8, 0.8))
    albedo[..., 30, 30] *= 0.5
    assert torch.equal(without_glow(albedo, ao, average, known), albedo)


def test_a_photograph_that_shows_nothing_limits_nothing():
    albedo, ao, average, _ = face((3.0, 3.0, 3.0))
    assert torch.equal(without_glow(albedo, ao, average, torch.zeros(1, 1, N, N)), albedo)
