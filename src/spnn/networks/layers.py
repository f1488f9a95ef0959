"""Sub-networks from a line of text: ``"conv3 64, conv3/2 128, up 64, conv3"``.

========================  ==========================================================
``conv3 64``              3x3 convolution to 64 channels (``conv1``, ``conv5``: other odd sizes), same height and width
``conv3/2 128``           the same with stride 2: half the height and width, rounded up
``up 64``                 transposed convolution, kernel 4, stride 2, padding 1: twice the height and width
``shuffle 4``             pixel shuffle: a 16th of the channels, 4 times the height and width
========================  ==========================================================

A ReLU follows every convolution but the last, which has no number: its width is what the place in the network asks
for. It starts at zero, so that a new network starts as a simple map.
"""

import re

from torch import nn

from spnn.errors import InputError
from spnn.networks.pointwise import PointwiseConv2d

__all__ = ["build_layers"]

_CONVOLUTION = re.compile(r"conv(?P<kernel>\d*[13579])(/(?P<stride>\d+))?( (?P<width>\d+))?")
_UP = re.compile(r"up (?P<width>\d+)")
_SHUFFLE = re.compile(r"shuffle (?P<factor>\d+)")


def build_layers(text: str, in_channels: int, out_channels: int) -> nn.Sequential:
    """Build the sub-network that ``text`` describes, [B, in_channels, H, W] -> [B, out_channels, H', W'].

    Raises:
        InputError: If a layer can't be read, if a width is missing before the last layer or given for it, or if a
            pixel shuffle doesn't divide the channels.
    """
    words = [" ".join(word.split()) for word in text.split(",")]
    layers: list[nn.Module] = []
    width = in_channels
    for place, word in enumerate(words):
        last = place == len(words) - 1
        if match := _SHUFFLE.fullmatch(word):
            factor = int(match["factor"])
            if last or width % factor**2:
                raise InputError(f"{word!r} in {text!r} can't shuffle {width} channels or can't be the last layer.")
            layers.append(nn.PixelShuffle(factor))
            width //= factor**2
        elif (match := _CONVOLUTION.fullmatch(word) or _UP.fullmatch(word)) and (match["width"] is None) == last:
            before, width = width, out_channels if last else int(match["width"])
            if word.startswith("up"):
                layers.append(nn.ConvTranspose2d(before, width, kernel_size=4, stride=2, padding=1))
            else:
                kernel, stride = int(match["kernel"]), int(match["stride"] or 1)
                if kernel == stride == 1:
                    layers.append(PointwiseConv2d(before, width))
                else:
                    layers.append(nn.Conv2d(before, width, kernel, stride, padding=kernel // 2))
            if not last:
                layers.append(nn.ReLU(inplace=True))
        else:
            raise InputError(
                f"can't read the layer {word!r} in {text!r}: expected e.g. 'conv3 64', 'conv3/2 128', 'up 64' or "
                "'shuffle 4', and at the end a convolution without a width, e.g. 'conv3'."
            )
    nn.init.zeros_(layers[-1].weight)
    nn.init.zeros_(layers[-1].bias)
    return nn.Sequential(*layers)
