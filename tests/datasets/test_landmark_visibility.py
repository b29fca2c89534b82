"""Landmarks are hidden by nearer surfaces and by the picture's border, not by their own skin."""

import numpy as np

from mosar.datasets.landmark_visibility import hide_covered


def test_covered_and_outside_landmarks_are_half_visible_and_missing_ones_stay_missing() -> None:
    nearest = np.full((4, 6), 500.0)
    nearest[2, 1], nearest[0, 5] = 400.0, np.inf
    marks = np.array([[1.5, 2.5, 1], [2.5, 2.5, 1], [5.5, 0.5, 1], [6.1, 2.0, 1], [-0.1, 2.0, 1], [1.5, 2.5, 0]])
    depth = np.array([500.0, 506.0, 900.0, 500.0, 500.0, 500.0])
    found = hide_covered(marks, depth, nearest)
    assert found[:, 2].tolist() == [0.5, 1.0, 1.0, 0.5, 0.5, 0.0]
    np.testing.assert_array_equal(found[:, :2], marks[:, :2].astype(np.float32))
