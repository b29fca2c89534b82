import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, label

from mosar.models.head import load_head, vertex_normals
from mosar.models.reconstruct.hair import Hair, crop_hair
from mosar.models.uv import texels_of

_SIZE = 256
_HEAD = load_head()


def _cover(known_11tt: torch.Tensor) -> torch.Tensor:
    """Coverage of white skin by black hair (h, w)."""
    skin = torch.ones(1, 3, *known_11tt.shape[-2:])
    hair = Hair(torch.zeros(3), 1.0)
    return 1.0 - crop_hair(_HEAD, skin, known_11tt, hair, torch.Generator().manual_seed(0))[0].mean(dim=0)


def test_hair_grows_where_no_skin_is_seen() -> None:
    cover = _cover(torch.zeros(1, 1, _SIZE, _SIZE))
    scalp = texels_of(_HEAD, _HEAD.region("scalp"), _SIZE)
    neck = texels_of(_HEAD, _HEAD.region("neck") & ~_HEAD.region("scalp"), _SIZE)
    assert float(cover[scalp].mean()) > 0.6
    assert float(cover[neck].mean()) < 0.15


def test_finer_maps_have_the_same_hair() -> None:
    known = torch.zeros(1, 1, _SIZE, _SIZE)
    known[..., 14:, 20 : _SIZE - 20] = 1.0
    coarse, fine = _cover(known), _cover(torch.nn.functional.interpolate(known, scale_factor=4))
    assert fine.shape == (4 * _SIZE, 4 * _SIZE)
    smaller = torch.nn.functional.avg_pool2d(fine[None], 4)[0]
    assert float((smaller - coarse).abs().mean()) < 0.03


def test_hair_in_front_stays_where_the_back_is_seen_as_skin() -> None:
    normals = vertex_normals(torch.tensor(_HEAD.template_v3)[None], torch.tensor(_HEAD.triangles_f3))[0]
    front = ~texels_of(_HEAD, _HEAD.region("scalp") & (normals[:, 2] < 0.0).numpy(), _SIZE)
    dense = _cover(torch.zeros(1, 1, _SIZE, _SIZE)) > 0.8
    room = distance_transform_edt((front & dense).numpy())
    row, column = (int(x) for x in np.unravel_index(room.argmax(), room.shape))
    assert room[row, column] > 4
    known = torch.ones(1, 1, _SIZE, _SIZE)
    known[..., max(row - 8, 0) : row + 8, max(column - 8, 0) : column + 8] = 0.0
    assert float(_cover(known)[row, column]) > 0.5


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
