"""Sub-networks from a line of text: ``"conv3 64, conv3/2 128, up 64, conv3"``.

========================  ==========================================================
``conv3 64``              3x3 convolution to 64 channels (``conv1``, ``conv5``: other odd sizes), same height and width
``conv3/2 128``           the same with stride 2: half the height and width, rounded up
``up 64``                 transposed convolution, kernel 4, stride 2, padding 1: twice the height and width
``shuffle 4``             pixel shuffle: a 16th of the channels, 4 times the height and width
========================  ==========================================================

A ReLU follows every convolution except the last one. The last one has no number, because its width depends on its
place in the network; its weights start at zero, so that a new network starts as a simple map.
"""

import re

from torch import Tensor, nn

from spnn.errors import InputError
from spnn.networks.convolution import Conv2d, Upsampling

__all__ = ["SubNetwork", "free_form"]

_CONVOLUTION = re.compile(r"conv(?P<kernel>\d*[13579])(/(?P<stride>[1-9]\d*))?( (?P<width>[1-9]\d*))?")
_UP = re.compile(r"up (?P<width>[1-9]\d*)")
_SHUFFLE = re.compile(r"shuffle (?P<factor>[1-9]\d*)")


class SubNetwork(nn.Sequential):
    """The layers that a line of text describes, [B, in_channels, H, W] -> [B, out_channels, H', W'].

    Arguments:
        text: The layers.
        in_channels: Channels of the input.
        out_channels: Channels of the output.

    Raises:
        InputError: If a layer can't be read, if the last layer has a width or an earlier one has none, or if a pixel
            shuffle doesn't divide the channels.
    """

    def __init__(self, text: str, in_channels: int, out_channels: int):
        super().__init__()
        self.text = text
        words = [" ".join(word.split()) for word in text.split(",")]
        width = in_channels
        for place, word in enumerate(words):
            last = place == len(words) - 1
            if match := _SHUFFLE.fullmatch(word):
                factor = int(match["factor"])
                if last or width % factor**2:
                    raise InputError(f"{word!r} in {text!r} can't shuffle {width} channels or can't be the last layer.")
                self.append(nn.PixelShuffle(factor))
                width //= factor**2
            elif (match := _CONVOLUTION.fullmatch(word) or _UP.fullmatch(word)) and (match["width"] is None) == last:
                before, width = width, out_channels if last else int(match["width"])
                if word.startswith("up"):
                    self.append(Upsampling(before, width))
                else:
                    self.append(Conv2d(before, width, int(match["kernel"]), int(match["stride"] or 1)))
                if not last:
                    self.append(nn.ReLU(inplace=True))
            else:
                raise InputError(
                    f"can't read the layer {word!r} in {text!r}: expected e.g. 'conv3 64', 'conv3/2 128', 'up 64' or "
                    "'shuffle 4', and at the end a convolution without a width, e.g. 'conv3'."
                )
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    @property
    def last(self) -> Conv2d:
        """The convolution that gives the output."""
        layer = self[-1]
        assert isinstance(layer, Conv2d)
        return layer

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output for an input of ``size``."""
        height, width = size
        for layer in self:
            if isinstance(layer, nn.PixelShuffle):
                height, width = height * layer.upscale_factor, width * layer.upscale_factor
            elif isinstance(layer, Upsampling):
                height, width = 2 * height, 2 * width
            elif isinstance(layer, Conv2d):
                height, width = -(-height // layer.stride[0]), -(-width // layer.stride[1])
        return height, width

    def forward(self, x: Tensor) -> Tensor:
        """Compute in the sub-network's precision (or autocast's), and return the result in that of ``x``."""
        return super().forward(x.to(self.last.weight.dtype)).to(x.dtype)


def free_form(hidden: int, in_channels: int, size: tuple[int, int] | None) -> str:
    """The layers of the published code for a block of any shape ("DIY" blocks).

    Arguments:
        hidden: The smallest width of a hidden layer; at most 1024 channels are used, or 2048 after a stride.
        in_channels: Channels of the sub-network's input.
        size: Height and width of the input, None if they are not known.
    """
    narrow = min(max(hidden, in_channels), 1024)
    wide = min(2 * narrow, 2048)
    if size is None:
        return f"conv3 {narrow}, conv3 {wide}, conv3 {wide}, conv3 {narrow}, conv3"
    if max(size) == 1:
        return f"conv1 {narrow}, conv1 {wide}, conv1 {narrow}, conv1"
    return f"conv3 {narrow}, conv3 {narrow}, conv3/2 {wide}, conv3 {wide}, up {narrow}, conv3"
