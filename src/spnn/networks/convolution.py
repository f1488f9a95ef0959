"""Convolutions that are computed as matrix products where that is faster.

The convolution kernels of CPU libraries first reorder the weights, at every call. With many weights and a map of a few
pixels, this costs more than the arithmetic: a 3x3 convolution of 1024 channels on 2x2 pixels takes several times as
long as reading its weights once. In such layers, the windows are written out as rows and multiplied; a 1x1 convolution
is computed this way at any size. Parameters, results and gradients are those of the base classes. GPU libraries already
have such kernels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Conv2d", "Upsampling", "mix_channels", "multiply"]

_FEW_PIXELS = 16  # per image: up to 4x4
_MANY_WEIGHTS = 2**20  # half of a 3x3 from 512 to 512 channels; at 256, the libraries' kernels are twice as fast
_FEW_ROWS = 128


def mix_channels(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply ``weight`` [D', D] to the channels at each position, [B, D, H, W] -> [B, D', H, W]."""
    return multiply(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


class Conv2d(nn.Conv2d):
    """A convolution of odd kernel size, [B, C, H, W] -> [B, C', ceil(H / stride), ceil(W / stride)]."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        if kernel == stride == 1:
            return mix_channels(x, self.weight.flatten(1), self.bias)
        height, width = x.shape[2:]
        height, width = -(-height // stride), -(-width // stride)
        if x.device.type != "cpu" or height * width > _FEW_PIXELS or self.weight.numel() < _MANY_WEIGHTS:
            return super().forward(x)
        windows = F.unfold(x, kernel, padding=kernel // 2, stride=stride).mT  # [B, H' W', C k^2]
        y = multiply(windows, self.weight.flatten(1), self.bias)
        return y.unflatten(1, (height, width)).permute(0, 3, 1, 2)


class Upsampling(nn.ConvTranspose2d):
    """A transposed convolution that doubles height and width: kernel 4, stride 2, padding 1."""

    bias: Tensor

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, kernel_size=4, stride=2, padding=1)

    def forward(self, x: Tensor, output_size: None = None) -> Tensor:  # type: ignore[override]  # always the double
        _, _, height, width = x.shape
        if x.device.type != "cpu" or height * width * 4 > _FEW_PIXELS or self.weight.numel() < _MANY_WEIGHTS:
            return super().forward(x)
        windows = x.flatten(2).mT @ self.weight.flatten(1)  # [B, H W, C' 4^2]
        y = F.fold(windows.mT, (2 * height, 2 * width), kernel_size=4, padding=1, stride=2)
        return y + self.bias.to(y.dtype)[:, None, None]


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias``, [..., D] -> [..., D']."""
    rows = x.reshape(-1, x.shape[-1])
    if x.device.type != "cpu" or len(rows) > _FEW_ROWS or not weight.is_contiguous():
        y = F.linear(rows, weight, bias)
    else:
        # The same product the other way round: up to twice as fast with few rows. (Only if the weights are contiguous:
        # with transposed weights, it is up to ten times slower.)
        columns = rows.contiguous().T
        y = (weight @ columns if bias is None else torch.addmm(bias[:, None], weight, columns)).T
    return y.reshape(*x.shape[:-1], len(weight))
