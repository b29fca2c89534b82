"""A joint model of the errors of detected landmarks: a mean field by view, correlated components, a diagonal.

Errors are in the image plane, in units of mm at the head's depth, x right and y down.
Legend: n captures, l landmarks.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_RIDGE = 3.0  # captures' worth of a prior that the mean field does not depend on the view
_LEAST_MM = 0.3  # smallest deviation that is independent of all other landmarks
_CLIP_MM = 8.0


@dataclass(frozen=True, eq=False)
class DetectorError:
    """Linear mean field and covariance of the errors.

    Attributes:
        field_4d: coefficients of :func:`view_terms` for each coordinate d of (l 2), flattened.
        precision_dd: inverse covariance.
    """

    field_4d: Array
    precision_dd: Array

    def mean(self, yaw: float, pitch: float) -> Array:
        """Expected error (l 2) of a view, mm."""
        return np.asarray((view_terms(np.array([yaw]), np.array([pitch])) @ self.field_4d).reshape(-1, 2))


def view_terms(yaw_n: Array, pitch_n: Array) -> Array:
    """Terms (n 4) on which the mean field depends: constant, yaw, its square, pitch; radians."""
    return np.stack([np.ones_like(yaw_n), yaw_n, yaw_n**2, pitch_n], 1)


def fit_detector_error(error_nl2: Array, yaw_n: Array, pitch_n: Array, components: int = 100) -> DetectorError:
    """Fit the model to errors (n l 2), detected minus true, mm; few captures give fewer components."""
    error_nd = np.clip(error_nl2, -_CLIP_MM, _CLIP_MM).reshape(len(error_nl2), -1)
    terms_n4 = view_terms(yaw_n, pitch_n)
    penalty = np.diag([0.0, _RIDGE, _RIDGE, _RIDGE])
    field_4d: Array = np.asarray(np.linalg.solve(terms_n4.T @ terms_n4 + penalty, terms_n4.T @ error_nd), np.float64)
    rest_nd = error_nd - terms_n4 @ field_4d
    count = max(min(components, len(rest_nd) - 5), 0)
    _, singular, rows_kd = np.linalg.svd(rest_nd / np.sqrt(max(len(rest_nd) - 4, 1)), full_matrices=False)
    # A component's variance holds its share of the independent noise (Tipping and Bishop 1999).
    noise = (singular[count:] ** 2).sum() / max(rest_nd.shape[1] - count, 1)
    shared_kd = rows_kd[:count] * np.sqrt(np.maximum(singular[:count, None] ** 2 - noise, 0))
    own_d = np.maximum((rest_nd**2).mean(0) - (shared_kd**2).sum(0), _LEAST_MM**2)
    # Woodbury: the inverse of diagonal plus low rank.
    scaled_kd = shared_kd / own_d
    inner = np.linalg.inv(np.eye(count) + scaled_kd @ shared_kd.T)
    return DetectorError(field_4d, np.diag(1 / own_d) - scaled_kd.T @ inner @ scaled_kd)
