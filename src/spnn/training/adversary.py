r"""Move training images against their labels, so that moving an image towards a target means changing what it shows.

Guidance moves images as far as the network's answer demands. If an invisible change is enough to flip the answer,
guidance finds invisible changes. A network whose answer survives small moves has gradients that people can interpret
(Santurkar et al.), and makes guidance change what people see.

References:
    Image Synthesis with a Single (Robust) Classifier (Santurkar et al., 2019), https://arxiv.org/abs/1906.09453
    Towards Deep Learning Models Resistant to Adversarial Attacks (Madry et al., 2018), https://arxiv.org/abs/1706.06083
"""

from collections.abc import Callable

import torch
from torch import Tensor

from spnn.errors import InputError

__all__ = ["Adversary"]


class Adversary:
    """Moves part of a batch up the gradient of its loss.

    Arguments:
        reach: Length of the whole move: root mean square over an image's pixels in [-1, 1], the unit of guidance's
            ``bound``.
        steps: Number of gradient steps, all of the same length; each computes a new gradient.
        share: The share of the batch that is moved, in [0, 1].

    Raises:
        InputError: If a number is out of range.
    """

    def __init__(self, reach: float, steps: int = 2, share: float = 0.5):
        if not reach > 0 or steps < 1 or not 0 <= share <= 1:
            raise InputError(
                "an adversary needs a positive reach, at least one step and a share in [0, 1]; got "
                f"{reach}, {steps} and {share}."
            )
        self.reach, self.steps, self.share = reach, steps, share

    def __call__(self, image: Tensor, loss: Callable[[Tensor, slice], Tensor]) -> Tensor:
        """Return the batch with its first images moved.

        Arguments:
            image: [B, C, H, W].
            loss: The sum of the losses of the images in a slice of the batch. It is a sum so that an image's move does
                not depend on the other images.
        """
        part = slice(round(self.share * len(image)))
        moved = image[part].detach()
        for _ in range(self.steps if len(moved) else 0):
            with torch.enable_grad():
                moved.requires_grad_()
                (gradient,) = torch.autograd.grad(loss(moved, part), moved)
            size = gradient.square().mean((1, 2, 3), keepdim=True).sqrt()
            step = self.reach / self.steps * gradient / size.clamp(min=torch.finfo(size.dtype).tiny)
            moved = (moved + step).detach()
        return torch.cat([moved, image[part.stop :]])
