import torch

from mosar.models.colour import LUMINANCE
from mosar.models.reconstruct.hues import without_casts

_SKIN = torch.tensor([0.45, 0.27, 0.18])
_OPEN = torch.ones(1, 1, 64, 64)
_NONE = torch.zeros(1, 1, 64, 64)


def _skin(size: int = 64) -> torch.Tensor:
    return _SKIN[None, :, None, None].expand(1, 3, size, size).clone()


def _luminance(albedo: torch.Tensor) -> torch.Tensor:
    return torch.einsum("c,bchw->bhw", torch.tensor(LUMINANCE), albedo)


def test_a_green_chin_is_green_no_more_but_as_bright() -> None:
    albedo = _skin()
    albedo[..., 44:, :] = torch.tensor([0.10, 0.16, 0.10])[:, None, None]
    found = without_casts(albedo, _OPEN, _OPEN, _NONE)
    chin = found[0, :, 55, 32]
    assert chin[0] >= chin[1] - 1e-4
    assert chin[1] > chin[2]
    torch.testing.assert_close(_luminance(found)[0, 55, 32], _luminance(albedo)[0, 55, 32], rtol=0.02, atol=0.0)
    torch.testing.assert_close(found[..., :30, :], albedo[..., :30, :])


def test_grey_beards_and_detail_stay() -> None:
    albedo = _skin(128)
    albedo[..., 90:, :] = 0.4  # exactly grey
    albedo[..., 40, 40] = torch.tensor([0.1, 0.2, 0.1])  # one texel is detail, no hue of a region
    found = without_casts(albedo, _OPEN, _OPEN, _NONE)
    torch.testing.assert_close(found, albedo, rtol=0.03, atol=1e-3)


def test_a_missing_channel_gives_no_glaring_colours() -> None:
    albedo = _skin()
    albedo[..., 44:, :] = torch.tensor([0.30, 0.20, 0.002])[:, None, None]
    albedo[..., 50, 20] = torch.tensor([0.3, 0.2, 0.06])
    found = without_casts(albedo, _OPEN, _OPEN, _NONE)
    assert float(found.max()) <= 1.0
    assert float(found[0, 2, 50, 20]) < 0.2
    assert float(found[0, 2, 55, 40]) > 0.005


def test_lips_may_have_any_colour() -> None:
    albedo, lips = _skin(), _NONE.clone()
    albedo[..., 20:30, 20:40] = torch.tensor([0.5, 0.05, 0.08])[:, None, None]
    lips[..., 14:36, 14:46] = 1.0
    torch.testing.assert_close(without_casts(albedo, _OPEN, _OPEN, lips), albedo)
    assert float((without_casts(albedo, _OPEN, _OPEN, _NONE) - albedo).abs().max()) > 0.1


def test_finer_maps_give_the_same() -> None:
    """Hues are compared over a share of the chart, whatever its resolution."""
    albedo = _skin(256)
    albedo[..., 176:, :] = torch.tensor([0.10, 0.16, 0.10])[:, None, None]
    coarse, fine = (
        without_casts(albedo, torch.ones(1, 1, n, n), torch.ones(1, 1, n, n), torch.zeros(1, 1, n, n))
        for n in (128, 256)
    )
    torch.testing.assert_close(coarse, fine, atol=0.02, rtol=0.0)


def test_nothing_tells_the_hue_of_a_face_that_is_not_seen() -> None:
    albedo = _skin()
    albedo[..., 44:, :] = torch.tensor([0.10, 0.16, 0.10])[:, None, None]
    assert torch.equal(without_casts(albedo, _OPEN, _NONE, _NONE), albedo)
