"""The independent judge: a plain classifier, trained on the same labels, that guidance never sees.

If the network that guided the sampling also judges agreement, images that fool this network score well. A judge with
another architecture, trained separately, is not fooled by the same images.
"""

from collections.abc import Sequence

from torch import nn
from torchvision.models import resnet18
from torchvision.ops import Conv2dNormActivation

from spnn.errors import InputError

__all__ = ["AttributeCNN", "MapCNN", "attribute_resnet18"]

_SMALL = 64  # pixels, up to which the first layers of ResNet would throw most of the image away


class AttributeCNN(nn.Sequential):
    """Convolutions of stride 2, then one linear layer on all remaining values: [B, C, H, W] -> [B, outputs].

    There is no global pooling: in aligned images, the position of a detail tells which label it belongs to.

    Arguments:
        image_shape: (C, H, W).
        outputs: Number of logits.
        widths: Channels of each convolution.
    """

    def __init__(self, image_shape: Sequence[int], outputs: int, widths: Sequence[int]):
        channels, height, width = image_shape
        layers = []
        for wide in widths:
            layers.append(Conv2dNormActivation(channels, wide, kernel_size=3, stride=2))
            channels, height, width = wide, -(-height // 2), -(-width // 2)
        super().__init__(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels * height * width, outputs))


class MapCNN(nn.Sequential):
    """Convolutions of stride 2 down to a grid of cells, then dilated ones, which see more and more of the picture, and
    one linear layer in each cell: [B, C, H, W] -> [B, outputs]. The outputs are maps, one for each output of a cell,
    with each map row by row.

    Arguments:
        image_shape: (C, H, W).
        outputs: Number of outputs.
        grid: Number of cells down and across: the picture's size divided by a power of two.
        width: Channels of the convolutions.
        dilations: Dilations of the dilated convolutions.

    Raises:
        InputError: If the grid doesn't fit the picture or the outputs.
    """

    def __init__(
        self, image_shape: Sequence[int], outputs: int, grid: int, width: int, dilations: Sequence[int] = (1, 2, 4, 1)
    ):
        channels, height, _ = image_shape
        halvings = (height // grid).bit_length() - 1 if grid > 0 else 0
        if any(size != grid * 2**halvings for size in image_shape[1:]) or outputs % grid**2:
            raise InputError(
                f"a judge of maps needs a grid that is the picture's size over a power of two, and a whole number of "
                f"maps; {outputs} outputs of {tuple(image_shape)} don't fit judge.grid={grid}."
            )
        options = {"kernel_size": 3}
        layers = [Conv2dNormActivation(channels, width, **options)]
        layers += [Conv2dNormActivation(width, width, **options, stride=2) for _ in range(halvings)]
        layers += [Conv2dNormActivation(width, width, **options, dilation=dilation) for dilation in dilations]
        super().__init__(*layers, nn.Conv2d(width, outputs // grid**2, 1), nn.Flatten())


def attribute_resnet18(image_shape: Sequence[int], outputs: int) -> nn.Module:
    """ResNet-18 with new weights: [B, C, H, W] -> [B, outputs].

    For images of at most 64 pixels, it begins with a 3x3 convolution of stride 1 instead of a 7x7 one of stride 2 and a
    3x3 max pooling, as is usual for small images. It ends with the mean over all positions.

    Arguments:
        image_shape: (C, H, W).
        outputs: Number of logits.

    References:
        Deep Residual Learning for Image Recognition (He et al., 2016), https://arxiv.org/abs/1512.03385 (section 4.2
        for small images)
    """
    channels, height, width = image_shape
    network = resnet18(weights=None, num_classes=outputs)
    small = max(height, width) <= _SMALL
    size, stride = (3, 1) if small else (7, 2)
    network.conv1 = nn.Conv2d(channels, 64, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    if small:
        network.maxpool = nn.Identity()
    return network
