import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from mosar.models.head import Head, load_head
from mosar.models.head.lips import close_lips

COLUMNS_MM = range(-8, 9, 4)


@pytest.fixture(scope="module")
def head() -> Head:
    return load_head()


def opened(head: Head, weight: float) -> torch.Tensor:
    jaw = torch.tensor(head.expressions_ev3[head.expression_names.index("jawOpen")])
    return torch.tensor(head.template_v3)[None] + weight * jaw


def gap_mm(head: Head, vertices_1v3: torch.Tensor) -> float:
    """The widest opening between the lips, looked for at some columns around the midline."""
    vertices_v3, template_v3 = vertices_1v3[0].numpy(), head.template_v3
    motion_v = np.linalg.norm(head.expressions_ev3[head.expression_names.index("jawOpen")], axis=1)
    lips_v = head.region("lips")
    middle = template_v3[lips_v].mean(0)
    near_v = (np.abs(template_v3 - middle) < (14.0, 12.0, 9.0)).all(axis=1)
    triangles = head.triangles_f3[(head.material_f == 0) & near_v[head.triangles_f3].all(axis=1)]
    lower_f = motion_v[triangles].mean(axis=1) > 0.5 * motion_v[lips_v].max()
    corners_k3 = np.random.default_rng(0).dirichlet(np.ones(3), 300)
    points_fk3 = np.einsum("kc,fcx->fkx", corners_k3, vertices_v3[triangles])
    sides = [points_fk3[chosen].reshape(-1, 3) for chosen in (~lower_f, lower_f)]
    widest = 0.0
    for column in COLUMNS_MM:
        upper, lower = (side[np.abs(side[:, 0] - middle[0] - column) < 1.0] for side in sides)
        widest = max(widest, float(cKDTree(upper).query(lower)[0].min()))
    return widest


@pytest.mark.parametrize("weight", [0.02, 0.04])
def test_parted_lips_close_and_the_rest_of_the_face_stays(head: Head, weight: float) -> None:
    before = opened(head, weight)
    after = close_lips(head, before)
    assert gap_mm(head, before) > 0.4
    assert gap_mm(head, after) < 0.2
    moved_v = (after - before)[0].norm(dim=-1).numpy()
    centre = head.template_v3[head.region("lips")].mean(0)
    assert moved_v.max() < 20 * weight
    assert moved_v[np.linalg.norm(head.template_v3 - centre, axis=1) > 30].max() < 0.01


def test_closed_lips_stay(head: Head) -> None:
    torch.testing.assert_close(close_lips(head, opened(head, 0.0)), opened(head, 0.0))
    assert gap_mm(head, opened(head, 0.0)) < 0.2
