"""The 68 points of a face in the Multi-PIE order, by the npm package's ``FaceLandmark68Net.ts``.

Given the same 112 x 112 pixels, the points differ from the package's JavaScript (TensorFlow.js 4.22.0) by at most 1e-4
pixels. One pass of it moves with the box that it is given. Boxes moved by up to 6 percent and scaled by up to 10 move
the points on portraits by 1.1 percent of the distance of the outer eye corners; here, with a mirrored image and a
second pass, by 0.45.
"""

import numpy as np
import torch
import torch.nn.functional as f
from numpy.typing import NDArray
from torch import Tensor

from mosar.jobs.evaluation.judges import squares, weights

COUNT = 68
SIZE = 112
_PASSES = 2
_PAD = 0.1
"""Share of their box by which the points of one pass are padded on every side for the next."""
_MIRROR = np.array([
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
])  # fmt: skip
"""The point that each becomes in a mirrored image."""


class Landmarks68:
    """The network. ``folder``: a location with the fetched files.

    Raises:
        DataError: a file is missing or altered.
    """

    def __init__(self, folder: str) -> None:
        self._weights = weights.read(folder, "face_landmark_68_model")

    def points(self, image_hw3: NDArray[np.uint8], box_xyxy: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points (68 2, px of the image, pixel centres at integers + 0.5) of the face in a box (left top right bottom).

        The box is the hull of the face from forehead to chin: a detector's box, or :func:`hull` of our 478 points. The
        points are the mean of those of the square and of its mirror image. The first are only used to place and turn
        the square of a second pass, so that they depend little on the box.
        """
        box = np.asarray(box_xyxy, np.float64)
        affine = squares.affine((box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max()), 0.0, SIZE)
        for _ in range(_PASSES):
            cut = squares.cut(image_hw3, affine, SIZE)
            straight, mirrored = self.in_squares([cut, np.ascontiguousarray(cut[:, ::-1])]) * SIZE
            turned_back = mirrored[_MIRROR] * [-1, 1] + [SIZE, 0]
            points = (straight + turned_back) / 2 @ affine[:, :2].T + affine[:, 2]
            affine = _upright(points)
        return points.astype(np.float32)

    @torch.inference_mode()
    def in_squares(self, cut: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Points (B 68 2) in squares around faces (each 112 112 3, 0 to 255, sRGB), as shares of the side."""
        out = squares.network_input(cut)
        for block in ("dense0", "dense1", "dense2", "dense3"):
            out = self._dense(block, out)
        out = f.avg_pool2d(out, 7).flatten(1) @ self._weights["fc/weights"] + self._weights["fc/bias"]
        return out.reshape(-1, COUNT, 2).numpy()

    def _dense(self, name: str, x: Tensor) -> Tensor:
        """Half the size, then three convolutions, each of the sum of all before it."""
        total = self._conv(f"{name}/conv0", x, 2).relu()
        for i in (1, 2, 3):
            total = total + self._conv(f"{name}/conv{i}", total.relu(), 1)
        return total.relu()

    def _conv(self, name: str, x: Tensor, stride: int) -> Tensor:
        # TensorFlow's padding "same": with a stride of two on an even size, one row and column at the end
        x = f.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))
        if f"{name}/filters" in self._weights:
            return f.conv2d(x, self._weights[f"{name}/filters"], self._weights[f"{name}/bias"], stride)
        depthwise = self._weights[f"{name}/depthwise_filter"].transpose(0, 1)
        deep = f.conv2d(x, depthwise, stride=stride, groups=x.shape[1])
        return f.conv2d(deep, self._weights[f"{name}/pointwise_filter"], self._weights[f"{name}/bias"])


def hull(points_p2: NDArray[np.floating]) -> NDArray[np.float64]:
    """Box (left top right bottom) of points (n, 2 or more; px)."""
    points = np.asarray(points_p2, np.float64)[:, :2]
    return np.concatenate([points.min(0), points.max(0)])


def _upright(points_p2: NDArray[np.floating]) -> NDArray[np.float64]:
    """Affine map (2 x 3) of the square around points to the image, turned so that the eyes are level."""
    turn = squares.level(points_p2[36:42].mean(0), points_p2[42:48].mean(0))
    axes = squares.affine(np.zeros(2), SIZE, turn, SIZE)[:, :2]
    box = hull(points_p2 @ axes)
    side = float((box[2:] - box[:2]).max()) * (1 + 2 * _PAD)
    return squares.affine(axes @ (box[:2] + box[2:]) / 2, side, turn, SIZE)
