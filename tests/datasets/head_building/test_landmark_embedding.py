import dataclasses

import numpy as np
import pytest
import torch

from mosar.datasets.head_building import landmark_embedding, region_labels
from mosar.errors import DataError
from mosar.models.head import landmarks, load_head


@pytest.fixture(scope="module")
def views():
    return landmark_embedding.detect_views(load_head(), 12, seed=99)


def test_embedded_points_of_held_out_people_agree_with_the_detector(views):
    head = load_head()
    residual = landmark_embedding.residuals(head, views)
    assert residual.shape == (len(views.images_bhw3), 478, 2)
    assert np.nanmedian(np.linalg.norm(residual, axis=-1)) < 1.7
    assert np.isnan(residual[:, head.landmark_triangle_l < 0]).all()


def test_exact_points_are_embedded_at_their_positions(views):
    """Given exact projections of surface points, embedding recovers their positions."""
    head = load_head()
    exact = landmark_embedding._projected(views, landmarks(head, views.vertices_bv3))[0]
    found = landmark_embedding.embed(head, dataclasses.replace(views, points_bl2=exact)).fields()
    again = dataclasses.replace(head, **found)
    template = torch.from_numpy(np.array(head.template_v3))[None]
    both = (head.landmark_triangle_l >= 0) & (again.landmark_triangle_l >= 0)
    distance = (landmarks(again, template) - landmarks(head, template))[0].norm(dim=-1).numpy()
    assert both.sum() > 400
    assert np.median(distance[both]) < 0.3


def test_a_head_without_a_face_is_refused():
    head = load_head()
    turned = dataclasses.replace(
        head,
        template_v3=head.template_v3 * np.float32([-1, 1, -1]),
        archetypes_av3=head.archetypes_av3 * np.float32([-1, 1, -1]),
        modes_mv3=head.modes_mv3 * 0,
        expressions_ev3=head.expressions_ev3 * 0,
    )
    with pytest.raises(DataError, match="no face was found in 2 renders"):
        landmark_embedding.detect_views(turned, 2, seed=0)


def test_openness_tells_pockets_from_skin():
    head = load_head()
    openness = region_labels.openness(head.template_v3.astype(np.float64), head.triangles_f3, rays=16)
    assert openness[head.region("forehead")].mean() > 0.9
    assert openness[head.region("interior")].mean() < 0.1
