"""The texture stages without what their networks learnt: the frame alone, against which the networks are measured."""

import copy
from collections.abc import Mapping

import torch
from torch import nn

from mosar.models.networks.unet import UNet
from mosar.models.reconstruct.steps import STEPS
from mosar.models.stages.normals.network import Normals

_STAGES = STEPS[STEPS.index("geometry") + 1 :]


@torch.no_grad()
def uncorrected(modules: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The modules with copies of the texture stages whose networks correct nothing.

    What remains: the photograph divided by its light (in creases not brighter than the average skin allows), holes
    filled without learning, the occlusion and the translucency of thin parts by the person's own geometry, and the
    training means of specular, translucency and normals.
    """
    found = dict(modules)
    for name in _STAGES:
        found[name] = copy.deepcopy(modules[name])
        for part in found[name].modules():
            if isinstance(part, UNet):
                for parameter in (*part.last.parameters(), *part.tone[-1].parameters()):
                    parameter.zero_()
            if isinstance(part, Normals):
                part.regressor.last_pfk.zero_()
    return found
