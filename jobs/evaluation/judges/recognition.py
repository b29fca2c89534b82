"""Face recognition: dlib's 29-layer ResNet, which maps a face to 128 numbers; distances tell people apart.

Architecture and placement of the face follow ``FaceRecognitionNet.ts`` and ``FaceLandmarks.ts`` of the npm package.
Given the same 150 x 150 pixels, the descriptors differ from the package's JavaScript (TensorFlow.js 4.22.0) by at most
4e-6. Two things differ on purpose. The face is also turned until the eyes are level, as dlib does: a portrait turned by
12 degrees is then at 0.04 from itself instead of 0.28. And a large face is averaged down, not subsampled.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as f
from numpy.typing import NDArray
from torch import Tensor

from mosar.jobs.evaluation.judges import squares, weights

SIZE = 150
SAME_PERSON = 0.6
"""dlib's threshold: photographs at a smaller distance show the same person."""
_SIDE = 1 / 0.45
"""Side of the square over the mean distance from an eye's centre to the mouth's."""
_REFERENCE = np.array([0.5, 0.43])
"""Where the mean of both eyes' and the mouth's centre lies in the square."""


class Recognition:
    """The network. ``folder``: a location with the fetched files.

    Raises:
        DataError: a file is missing or altered.
    """

    def __init__(self, folder: str) -> None:
        read = weights.read(folder, "face_recognition_model")
        self._fc = read.pop("fc")
        names = [name.removesuffix("/conv/filters") for name in read if name.endswith("/conv/filters")]
        self._convolutions = {name: _folded(read, name) for name in names}

    def describe(self, image_hw3: NDArray[np.uint8], points_p2: NDArray[np.floating]) -> NDArray[np.float32]:
        """Descriptor (128) of the face in an image (sRGB) with these 68 points (68 2, px)."""
        return self.describe_batch([image_hw3], [points_p2])[0]

    def describe_batch(
        self, images: Sequence[NDArray[np.uint8]], points: Sequence[NDArray[np.floating]]
    ) -> NDArray[np.float32]:
        """Descriptors (B 128) of one face in each image (H W 3, sRGB, any sizes) with its 68 points (68 2, px)."""
        cut = [squares.cut(i, face_square(p), SIZE) for i, p in zip(images, points, strict=True)]
        return self.describe_squares(cut)

    @torch.inference_mode()
    def describe_squares(self, cut: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Descriptors (B 128) of aligned faces (each 150 150 3, 0 to 255, sRGB)."""
        out = f.max_pool2d(self._conv("conv32_down", squares.network_input(cut), 2).relu(), 3, 2)
        for block in ("conv32_1", "conv32_2", "conv32_3"):
            out = self._residual(block, out)
        for width, blocks in ((64, 3), (128, 2), (256, 2)):
            out = self._down(f"conv{width}_down", out)
            for i in range(blocks):
                out = self._residual(f"conv{width}_{i + 1}", out)
        out = self._down("conv256_down_out", out)
        return (out.mean((2, 3)) @ self._fc).numpy()

    def _conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel, bias = self._convolutions[name]
        return f.conv2d(x, kernel, bias, stride, padding=1 if stride == 1 else 0)

    def _residual(self, name: str, x: Tensor) -> Tensor:
        return (self._conv(f"{name}/conv2", self._conv(f"{name}/conv1", x).relu()) + x).relu()

    def _down(self, name: str, x: Tensor) -> Tensor:
        """Half the size; the shortcut is pooled, and padded with channels of zeros."""
        out = self._conv(f"{name}/conv2", self._conv(f"{name}/conv1", x, 2).relu())
        pooled = f.avg_pool2d(x, 2, 2)
        if pooled.shape[2:] != out.shape[2:]:
            out = f.pad(out, (0, 1, 0, 1))
        return (out + f.pad(pooled, (0, 0, 0, 0, 0, out.shape[1] - pooled.shape[1]))).relu()


def face_square(points_p2: NDArray[np.floating]) -> NDArray[np.float64]:
    """Affine map (2 x 3) of the aligned 150 x 150 face to the image, from its 68 points (68 2, px)."""
    points = np.asarray(points_p2, np.float64)
    right, left, mouth = points[36:42].mean(0), points[42:48].mean(0), points[48:68].mean(0)
    side = (np.linalg.norm(mouth - right) + np.linalg.norm(mouth - left)) / 2 * _SIDE
    turn = squares.level(right, left)
    placed = squares.affine((right + left + mouth) / 3, float(side), turn, SIZE)
    placed[:, 2] += placed[:, :2] @ ((0.5 - _REFERENCE) * SIZE)
    return placed


def distance(one_128: NDArray[np.float32], other_128: NDArray[np.float32]) -> float:
    """Euclidean distance of two descriptors."""
    return float(np.linalg.norm(one_128 - other_128))


def _folded(read: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a convolution with the scale layer after it."""
    scale = read[f"{name}/scale/weights"]
    bias = read[f"{name}/conv/bias"] * scale + read[f"{name}/scale/biases"]
    return read[f"{name}/conv/filters"] * scale[:, None, None, None], bias
