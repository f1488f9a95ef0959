"""The independent judge: a plain classifier, trained on the same labels, that guidance never sees.

Agreement judged by the network that guided the sampling rewards images that fool that network. A judge of another
architecture, trained on its own, is not fooled by the same.
"""

from collections.abc import Sequence

from torch import nn
from torchvision.ops import Conv2dNormActivation

__all__ = ["AttributeCNN"]


class AttributeCNN(nn.Sequential):
    """Convolutions of stride 2, then one linear layer on all that is left: [B, C, H, W] -> [B, outputs].

    There is no global pooling: in aligned images, where something is seen tells which attribute it is.

    Arguments:
        image_shape: (C, H, W).
        outputs: Number of logits.
        widths: Channels of the convolutions.
    """

    def __init__(self, image_shape: Sequence[int], outputs: int, widths: Sequence[int]):
        channels, height, width = image_shape
        layers = []
        for wide in widths:
            layers.append(Conv2dNormActivation(channels, wide, kernel_size=3, stride=2))
            channels, height, width = wide, -(-height // 2), -(-width // 2)
        super().__init__(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels * height * width, outputs))
