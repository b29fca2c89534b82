"""The fit to detected landmarks recovers people that a known linear model and known errors made."""

import cv2
import numpy as np

from mosar.models.morphable.detected_fit import LandmarkModel, fit_detected, yaw_pitch
from mosar.models.morphable.detector_error import fit_detector_error, view_terms

RNG = np.random.default_rng(0)


def model(landmarks: int = 60, codes: int = 6) -> LandmarkModel:
    spots = RNG.uniform(-1, 1, (landmarks, 3)) * [60, 80, 20] + [0, -30, 0]
    spots[:, 2] += 40 - (spots[:, 0] / 15) ** 2
    basis = RNG.normal(size=(codes, landmarks, 3)) * 2
    return LandmarkModel(np.arange(landmarks), spots, basis, np.zeros(codes), np.eye(codes), codes - 2)


def rotation(yaw: float, pitch: float) -> np.ndarray:
    turn = np.asarray(cv2.Rodrigues(np.array([0, yaw, 0.0]))[0])
    return np.diag([1.0, -1, -1]) @ np.asarray(cv2.Rodrigues(np.array([pitch, 0, 0.0]))[0]) @ turn


def test_yaw_and_pitch_of_a_frontal_head_are_zero() -> None:
    np.testing.assert_allclose(yaw_pitch(rotation(0, 0)), (0, 0), atol=1e-12)
    assert abs(abs(yaw_pitch(rotation(0.3, 0))[0]) - 0.3) < 1e-9
    assert abs(abs(yaw_pitch(rotation(0, 0.2))[1]) - 0.2) < 1e-9


def test_errors_are_told_apart_into_field_and_covariance() -> None:
    count, landmarks = 4000, 8
    yaw, pitch = RNG.uniform(-0.5, 0.5, count), RNG.uniform(-0.2, 0.2, count)
    field = RNG.normal(size=(4, 2 * landmarks))
    shared = RNG.normal(size=2 * landmarks) * 0.5
    rest = RNG.normal(size=(count, 1)) * shared + 0.5 * RNG.normal(size=(count, 2 * landmarks))
    errors = (view_terms(yaw, pitch) @ field + rest).reshape(count, landmarks, 2)
    found = fit_detector_error(errors, yaw, pitch, components=1)
    np.testing.assert_allclose(found.field_4d[:2], field[:2], atol=0.15)
    wanted = np.linalg.inv(np.outer(shared, shared) + 0.25 * np.eye(2 * landmarks))
    np.testing.assert_allclose(found.precision_dd, wanted, atol=0.12 * wanted.max())


def test_codes_and_pose_are_recovered_and_biased_points_corrected() -> None:
    truth = model()
    focal, size = 800.0, 256
    intrinsics = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    code, turn, place = RNG.normal(size=6), rotation(0.25, -0.1), np.array([10.0, -5.0, 900.0])
    seen = (truth.mean_l3 + np.tensordot(code, truth.basis_cl3, 1)) @ turn.T + place
    points = seen[:, :2] / seen[:, 2:] * focal + size / 2
    bias = RNG.normal(size=(1, 60, 2)) * 1.5
    errors = bias + 0.3 * RNG.normal(size=(300, 60, 2))
    view = np.zeros(300)
    known = fit_detector_error(errors, view, view)
    blind = fit_detector_error(errors - bias, view, view)
    biased = points + bias[0] * focal / place[2]

    def missed(error):
        fit = fit_detected(truth, error, biased, intrinsics)
        mistake = np.linalg.norm(np.concatenate([fit.identity_k, fit.expression_e]) - code)
        return mistake, np.abs(fit.rotation_33 - turn).max(), np.abs(fit.translation_3 - place).max()

    (corrected, turned, moved), uncorrected = missed(known), missed(blind)[0]
    assert corrected < 0.35
    assert turned < 0.01
    assert moved < 10
    assert uncorrected > 2 * corrected
