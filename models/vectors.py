"""Fields of vectors (b, 3, h, w)."""

from torch import Tensor


def unit(field_b3hw: Tensor) -> Tensor:
    """Vectors at length one; zero stays zero.

    As ``torch.nn.functional.normalize(dim=1)``, whose norm over another than the last axis is slow on the CPU.
    """
    return field_b3hw * field_b3hw.square().sum(dim=1, keepdim=True).clamp_min(1e-24).rsqrt()
