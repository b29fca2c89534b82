import numpy as np
import pytest


@pytest.fixture
def stage_sample():
    """A light stage sample in memory with valid shapes and ranges, but without a face."""
    r = np.random.default_rng(0)
    normal = r.normal((0, 0, 1), 0.2, (64, 64, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    landmarks = np.concatenate([r.uniform(10, 86, (478, 2)), r.choice([0.5, 1.0], (478, 1))], 1)
    landmarks[5] = 0
    landmarks[[10, 152], :2] = [[48, 20], [48, 70]]  # forehead above chin: the face is upright
    smooth = np.repeat(np.repeat(r.integers(0, 255, (12, 12, 3), np.uint8), 8, 0), 8, 1)
    return {
        "mesh": r.normal(0, 80, (100, 3)).astype(np.float32),
        "neutral": r.normal(0, 80, (100, 3)).astype(np.float32),
        "diffuse": r.integers(0, 255, (64, 64, 3), np.uint8),
        "specular": r.integers(0, 255, (64, 64), np.uint8),
        "ao": r.integers(0, 255, (64, 64), np.uint8),
        "translucency": r.integers(0, 255, (64, 64), np.uint8),
        "normal": normal.astype(np.float32),
        "image": smooth,
        "mask": (r.random((96, 96)) > 0.5).astype(np.uint8) * 255,
        "landmarks": landmarks.astype(np.float32),
        "light": r.normal(0, 1, (81, 3)).astype(np.float32),
        "classes": r.integers(0, 12, (96, 96)).astype(np.uint8),
        "detected": np.concatenate([landmarks[:, :2] + 1, r.normal(0, 9, (478, 1))], 1).astype(np.float32),
        "blendshapes": r.random(52).astype(np.float32),
        "pose": np.array([[1, 0, 0, 0.5], [0, 1, 0, 2], [0, 0, 1, -40], [0, 0, 0, 1]], np.float32),
        "camera": {
            "size": 96,
            "intrinsics": [[300.0, 0, 48], [0, 300, 48], [0, 0, 1]],
            "rotation": np.diag([1.0, -1, -1]).tolist(),
            "translation_mm": [0.0, 0, 600],
        },
        "capture": {"subject": "s1", "expression": {"jawOpen": 0.5, "browInnerUp": 0.1}, "light": "city"},
    }


@pytest.fixture
def wild_sample(stage_sample):
    sample = {k: stage_sample[k] for k in ("image", "mask", "landmarks", "detected", "blendshapes", "pose")}
    return sample | {
        "camera": {k: stage_sample["camera"][k] for k in ("size", "intrinsics")},
        "capture": {"subject": "p1"},
    }
