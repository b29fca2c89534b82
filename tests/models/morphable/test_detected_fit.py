"""The fit to detected landmarks recovers people that a known linear model and known errors made."""

import cv2
import numpy as np
import torch

from mosar.models.morphable.detected_fit import LandmarkModel, fit_detected
from mosar.models.morphable.detector_error import DetectorError, yaw_pitch

RNG = np.random.default_rng(0)


def model(landmarks: int = 60, codes: int = 6) -> LandmarkModel:
    spots = RNG.uniform(-1, 1, (landmarks, 3)) * [60, 80, 20] + [0, -30, 0]
    spots[:, 2] += 40 - (spots[:, 0] / 15) ** 2
    basis = RNG.normal(size=(codes, landmarks, 3)) * 2
    return LandmarkModel(np.arange(landmarks), spots, basis, np.zeros(codes), np.eye(codes))


def rotation(yaw: float, pitch: float) -> np.ndarray:
    turn = np.asarray(cv2.Rodrigues(np.array([0, yaw, 0.0]))[0])
    return np.diag([1.0, -1, -1]) @ np.asarray(cv2.Rodrigues(np.array([pitch, 0, 0.0]))[0]) @ turn


def test_yaw_and_pitch_of_a_frontal_head_are_zero() -> None:
    turns = torch.from_numpy(np.stack([rotation(0, 0), rotation(0.3, 0), rotation(0, 0.2)]))
    yaw, pitch = yaw_pitch(turns)
    torch.testing.assert_close(yaw.abs(), torch.tensor([0, 0.3, 0]).double(), atol=1e-7, rtol=0)
    torch.testing.assert_close(pitch.abs(), torch.tensor([0, 0, 0.2]).double(), atol=1e-7, rtol=0)


def learnt(errors: np.ndarray) -> DetectorError:
    error = DetectorError(errors.shape[1], 10)
    error.fit(torch.from_numpy(errors), *torch.zeros(2, len(errors)))
    return error


def test_codes_and_pose_are_recovered_and_biased_points_corrected() -> None:
    truth = model()
    focal, size = 800.0, 256
    intrinsics = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    code, turn, place = RNG.normal(size=6), rotation(0.25, -0.1), np.array([10.0, -5.0, 900.0])
    seen = (truth.mean_l3 + np.tensordot(code, truth.basis_cl3, 1)) @ turn.T + place
    points = seen[:, :2] / seen[:, 2:] * focal + size / 2
    bias = RNG.normal(size=(1, 60, 2)) * 1.5
    errors = bias + 0.3 * RNG.normal(size=(300, 60, 2))
    known, blind = learnt(errors), learnt(errors - bias)
    biased = points + bias[0] * focal / place[2]

    def missed(error):
        fit = fit_detected(truth, error, biased, intrinsics)
        assert fit.end < fit.start
        mistake = np.linalg.norm(fit.code_c - code)
        return mistake, np.abs(fit.pose.rotation_33 - turn).max(), np.abs(fit.pose.translation_3 - place).max()

    (corrected, turned, moved), uncorrected = missed(known), missed(blind)[0]
    assert corrected < 0.35
    assert turned < 0.01
    assert moved < 10
    assert uncorrected > 2 * corrected
