import torch
from hypothesis import given
from hypothesis import strategies as st

from mosar.models.colour import to_linear, to_srgb


def test_known_values():
    torch.testing.assert_close(
        to_linear(torch.tensor([0.0, 0.5, 1.0])), torch.tensor([0.0, 0.21404, 1.0]), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        to_srgb(torch.tensor([0.0, 0.18, 1.0])), torch.tensor([0.0, 0.46136, 1.0]), atol=1e-5, rtol=0
    )


@given(st.floats(-0.5, 4))
def test_decoding_inverts_encoding(value):
    x = torch.tensor(value, dtype=torch.float64)
    torch.testing.assert_close(to_linear(to_srgb(x)), x, atol=1e-6, rtol=1e-6)


def test_gradients_are_finite_everywhere():
    for function in (to_linear, to_srgb):
        x = torch.linspace(-1, 2, 301, dtype=torch.float64, requires_grad=True)
        function(x).sum().backward()
        assert bool(torch.isfinite(x.grad).all())
