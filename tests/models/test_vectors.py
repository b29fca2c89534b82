import torch
from torch.nn.functional import normalize

from mosar.models.vectors import unit


def test_unit_is_normalize_with_zero_left_at_zero():
    field = torch.randn(2, 3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(unit(field), normalize(field, dim=1))
    field[:, :, 2] = 0
    field = field.float().requires_grad_()
    unit(field).sum().backward()
    assert bool((unit(field)[:, :, 2] == 0).all())
    assert field.grad is not None
    assert bool(field.grad.isfinite().all())
