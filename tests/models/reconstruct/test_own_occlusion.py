import torch

from mosar.models.reconstruct.light import open_texels
from mosar.models.reconstruct.own_occlusion import own_occlusion
from mosar.models.uv import texels_of


def test_the_average_head_has_the_occlusion_of_all_people(head):
    mean = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    average = open_texels(head, torch.tensor(head.template_v3)[None].float())
    found = own_occlusion(head, average, mean.repeat_interleave(8, -1).repeat_interleave(8, -2))
    torch.testing.assert_close(found, mean.repeat_interleave(8, -1).repeat_interleave(8, -2))


def test_deeper_eyes_are_darker_than_those_of_all_people(head):
    mesh = torch.tensor(head.template_v3)[None].float()
    eyes = torch.from_numpy(head.region("eyes").copy())
    deep = mesh.clone()
    deep[:, eyes, 2] -= 6.0  # the head looks along +z
    mean = torch.full((1, 1, 512, 512), 0.8)
    found = own_occlusion(head, open_texels(head, deep), mean)[0, 0]
    around = texels_of(head, head.region("eyes"), 512)
    assert float(found[around].mean()) < 0.78
    assert float(found[texels_of(head, head.region("forehead"), 512)].mean()) > 0.79
