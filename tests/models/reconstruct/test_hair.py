import torch
from scipy.ndimage import label

from mosar.models.head import load_head
from mosar.models.reconstruct.hair import Hair, crop_hair
from mosar.models.uv import texels_of

_SIZE = 256
_HEAD = load_head()


def _cover(known_11tt: torch.Tensor) -> torch.Tensor:
    """Coverage of white skin by black hair (h, w)."""
    skin = torch.ones(1, 3, _SIZE, _SIZE)
    hair = Hair(torch.zeros(3), 1.0)
    return 1.0 - crop_hair(_HEAD, skin, known_11tt, hair, torch.Generator().manual_seed(0))[0].mean(dim=0)


def test_hair_grows_where_no_skin_is_seen() -> None:
    cover = _cover(torch.zeros(1, 1, _SIZE, _SIZE))
    scalp = texels_of(_HEAD, _HEAD.region("scalp"), _SIZE)
    neck = texels_of(_HEAD, _HEAD.region("neck") & ~_HEAD.region("scalp"), _SIZE)
    assert float(cover[scalp].mean()) > 0.6
    assert float(cover[neck].mean()) < 0.15


def test_a_bald_head_has_none() -> None:
    assert float(_cover(torch.ones(1, 1, _SIZE, _SIZE)).max()) < 0.05


def test_holes_in_what_is_seen_are_no_islands_of_hair() -> None:
    """What hides parts of a bare scalp makes no patches of hair there, unless it is connected to the hair behind."""
    rows, _ = texels_of(_HEAD, _HEAD.region("forehead"), _SIZE).nonzero(as_tuple=True)
    top = int(rows.min())
    known = torch.zeros(1, 1, _SIZE, _SIZE)
    known[..., top - 16 :, 20 : _SIZE - 20] = 1.0
    holes = known.clone()
    holes[..., top - 8 : top + 8, 90:120] = 0.0
    holes[..., top - 2 : top + 1, 140:143] = 0.0
    assert label((holes[0, 0] < 0.5).numpy())[1] == label((known[0, 0] < 0.5).numpy())[1] + 2
    torch.testing.assert_close(_cover(holes), _cover(known), atol=0.1, rtol=0.0)
    fringe = known.clone()  # the same hole, connected to the hair above
    fringe[..., : top + 8, 90:120] = 0.0
    assert float(_cover(fringe)[top - 6 : top - 2, 100:110].mean()) > 0.5
