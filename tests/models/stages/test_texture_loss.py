import torch

from mosar.models.stages.texture_loss import texture_losses

SIZE = 96


def losses(prediction, truth, estimated):
    weight = torch.ones(len(prediction), 1, SIZE, SIZE)
    found = texture_losses(prediction, truth, weight, torch.tensor([estimated] * len(prediction)), 1.0)
    return {name: float(value) for name, value in found.items()}


def brow(shift=0, darkness=0.4):
    """Skin with a dark line, ``shift`` texels lower."""
    texture = torch.full((1, 3, SIZE, SIZE), 0.7)
    texture[:, :, 40 + shift : 44 + shift, 20:70] -= darkness
    return texture


def test_a_brow_beside_its_truth_is_better_than_a_faded_one_if_the_picture_is_estimated():
    faded, moved, truth = brow(1, 0.15), brow(1), brow()
    sharp = {name: losses(texture, truth, False)["l1"] for name, texture in (("faded", faded), ("moved", moved))}
    rough = {name: losses(texture, truth, True)["l1"] for name, texture in (("faded", faded), ("moved", moved))}
    assert rough["moved"] < 0.6 * rough["faded"]
    assert rough["moved"] / rough["faded"] < 0.85 * sharp["moved"] / sharp["faded"]
    assert losses(truth, truth, True) == {"l1": 0.0, "gradient": 0.0}


def test_what_has_no_weight_does_not_count():
    weight = torch.ones(1, 1, SIZE, SIZE)
    weight[..., 48:, :] = 0
    wrong = brow()
    wrong[:, :, 48:] = 0
    for estimated in (False, True):
        found = texture_losses(wrong, brow(), weight, torch.tensor([estimated]), 1.0)
        assert float(found["l1"]) < 1e-6


def test_smooth_errors_count_alike():
    truth = brow()
    for estimated in (False, True):
        torch.testing.assert_close(torch.tensor(losses(truth + 0.1, truth, estimated)["l1"]), torch.tensor(0.1))
