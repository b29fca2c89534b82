import torch

from mosar.models.reconstruct.thin_parts import thinner
from mosar.models.uv import texels_of


def test_the_average_head_has_no_more_than_itself(head):
    assert float(thinner(head, torch.tensor(head.template_v3)[None]).abs().max()) == 0


def test_a_smaller_head_lets_more_light_through_its_lips_and_none_through_its_forehead(head):
    found = thinner(head, 0.8 * torch.tensor(head.template_v3)[None])[0, 0]
    lips, forehead = (texels_of(head, head.region(name), found.shape[-1]) for name in ("lips", "forehead"))
    assert float(found[lips].mean()) > 0.01
    assert float(found[forehead].abs().mean()) < 0.002
