"""The released morphable model as a yardstick: the average head, the average albedo, and people around them.

It is the same for every bundle on a head, so that figures of two bundles are measured against one reference.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mosar.models.head import Head
from mosar.models.morphable import pretrained
from mosar.models.morphable.network import Morphable


@dataclass(frozen=True, eq=False)
class Prior:
    """Attributes:

    model: codes of identity and expression are close to standard normal over people.
    neutral_1v3: the average head, mm.
    albedo_13hw: the average albedo, linear RGB, coarse.
    """

    head: Head
    model: Morphable
    neutral_1v3: Tensor
    albedo_13hw: Tensor


@torch.no_grad()
def load_prior(head: Head) -> Prior:
    """The prior of a head.

    Raises:
        DataError: the released model belongs to another head.
    """
    model = pretrained.load(head)
    zero = torch.zeros(1, model.config.identity_codes)
    albedo, _ = model.reflectance(torch.zeros(1, model.config.reflectance_codes))
    return Prior(head, model, model.decode(zero, model.neutral_code()), albedo)
