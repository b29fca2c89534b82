"""Maps sampled at points of the chart. Shapes: b batch, c channels, h w rows and columns, n points."""

from torch import Tensor
from torch.nn.functional import grid_sample


def sample(map_bchw: Tensor, uv_bn2: Tensor) -> Tensor:
    """Maps (B, C, H, W) at chart coordinates (B, N, 2): (B, N, C), bilinear; u right, v up, row 0 is v = 1."""
    if map_bchw.ndim != 4 or uv_bn2.ndim != 3 or uv_bn2.shape[-1] != 2 or len(map_bchw) != len(uv_bn2):
        raise ValueError(
            f"sample: got map {tuple(map_bchw.shape)} and uv {tuple(uv_bn2.shape)}; expected (B, C, H, W) and (B, N, 2)"
        )
    grid_bn12 = (uv_bn2 * uv_bn2.new_tensor([2.0, -2.0]) + uv_bn2.new_tensor([-1.0, 1.0]))[:, :, None]
    return grid_sample(map_bchw, grid_bn12, padding_mode="border", align_corners=False)[..., 0].mT
