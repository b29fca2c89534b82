"""Fields of vectors (b, 3, h, w)."""

from torch import Tensor


def unit(field_b3hw: Tensor) -> Tensor:
    """Vectors scaled to length one; zero vectors stay zero.

    It computes ``torch.nn.functional.normalize(dim=1)``, which is slow on the CPU for any axis but the last.
    """
    return field_b3hw * field_b3hw.square().sum(dim=1, keepdim=True).clamp_min(1e-24).rsqrt()
