"""The independent judge: a plain classifier, trained on the same labels, that guidance never sees.

Agreement judged by the network that guided the sampling rewards images that fool that network. A judge of another
architecture, trained on its own, is not fooled by the same.
"""

from collections.abc import Sequence

from torch import nn
from torchvision.models import ResNet, resnet18

__all__ = ["resnet18_for"]


def resnet18_for(image_shape: Sequence[int], outputs: int) -> ResNet:
    """torchvision's ResNet-18 with a first layer that suits the image's size and channels.

    Arguments:
        image_shape: (C, H, W). From 64 pixels on the first layers are the usual ones; below, a single 3x3 convolution
            stands for them, with stride 2 from 32 pixels on.
        outputs: Number of logits.
    """
    network = resnet18(num_classes=outputs)
    channels, height, _ = image_shape
    if height >= 64:
        network.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    else:
        network.conv1 = nn.Conv2d(channels, 64, kernel_size=3, stride=2 if height >= 32 else 1, padding=1, bias=False)
        network.maxpool = nn.Identity()
    return network
