"""Directions of the golden spiral cover sphere and hemisphere evenly."""

import numpy as np

from mosar.models.directions import on_hemisphere, on_sphere


def test_directions_are_unit_and_their_moments_are_those_of_the_sphere() -> None:
    d = on_sphere(500)
    np.testing.assert_allclose(np.linalg.norm(d, axis=1), 1)
    np.testing.assert_allclose(d.mean(0), 0, atol=2e-3)
    np.testing.assert_allclose(d.T @ d / len(d), np.eye(3) / 3, atol=2e-3)


def test_the_hemisphere_is_as_dense_as_its_cosine() -> None:
    d = on_hemisphere(500)
    np.testing.assert_allclose(np.linalg.norm(d, axis=1), 1)
    assert d[:, 2].min() > 0
    np.testing.assert_allclose(d.mean(0), [0, 0, 2 / 3], atol=3e-3)
    np.testing.assert_allclose((d.T @ d / len(d)).diagonal(), [0.25, 0.25, 0.5], atol=3e-3)
