r"""Whether a pseudo-inverse obeys its laws, and how natural it is.

With :math:`\|\cdot\|_\infty` the largest absolute value, the three *Penrose errors* are those of

.. math:: g g^\dagger g = g, \qquad g^\dagger g g^\dagger = g^\dagger, \qquad g g^\dagger = \mathrm{id}.

The first is taken at images, the others at any ``y``. They are zero by construction, for any choice of latents; what is
measured is rounding. The *natural norm* :math:`E\|G(g^\dagger(y)) - G(0)\|^2` is what the natural pseudo-inverse
(Definition 4.2) minimises. Its part in ``y`` doesn't depend on the choice of latents, so that of the latents stands
alone, too.

References:
    Pseudo-Invertible Neural Networks (Ehrlich, Berman, Shocher, 2026), https://arxiv.org/abs/2602.06042
"""

import torch
from torch import Tensor
from torchmetrics import Metric

from spnn.surjection import Surjection

__all__ = ["NaturalNorm", "PenroseErrors"]

_LAWS = ("g_pinv_g", "pinv_g_pinv", "g_pinv")


class PenroseErrors(Metric):
    """The largest errors of the three laws.

    ``update(surjection, x, y)`` takes images [B, ...] and outputs [B, ...], which need not be those of the images;
    ``compute`` returns ``g_pinv_g``, ``pinv_g_pinv`` and ``g_pinv``, each absolute and, as ``<name>_relative``, over
    the largest value of the same sample's right-hand side. All in the precision of what is given, never autocast.
    """

    full_state_update = False
    higher_is_better = False

    def __init__(self):
        super().__init__()
        for law in _LAWS:
            self.add_state(law, torch.zeros(()), dist_reduce_fx="max")
            self.add_state(f"{law}_relative", torch.zeros(()), dist_reduce_fx="max")

    @torch.no_grad()
    def update(self, surjection: Surjection, x: Tensor, y: Tensor) -> None:
        g, pinv = surjection, surjection.pinv
        with torch.autocast(x.device.type, enabled=False):
            seen, nearest = g(x), pinv(y)
            back = g(nearest)
            sides = ((g(pinv(seen)), seen), (pinv(back), nearest), (back, y))
        for law, (left, right) in zip(_LAWS, sides, strict=True):
            error = (left - right).abs().flatten(1).amax(1)
            size = right.abs().flatten(1).amax(1).clamp(min=torch.finfo(right.dtype).tiny)
            for name, value in ((law, error), (f"{law}_relative", error / size)):
                setattr(self, name, torch.maximum(getattr(self, name), value.max().to(getattr(self, name))))

    def compute(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for law in _LAWS for name in (law, f"{law}_relative")}


class NaturalNorm(Metric):
    r"""The mean of :math:`\|G(g^\dagger(y)) - G(0)\|^2`, squares added up over all coordinates.

    ``update(surjection, y, image_shape)`` takes outputs [B, ...] and (C, H, W); ``compute`` returns ``natural`` and
    ``natural_latents``, the part of the latents.
    """

    full_state_update = False
    higher_is_better = False

    def __init__(self):
        super().__init__()
        for name in ("natural", "natural_latents", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.double), dist_reduce_fx="sum")

    @torch.no_grad()
    def update(self, surjection: Surjection, y: Tensor, image_shape: tuple[int, ...]) -> None:
        with torch.autocast(y.device.type, enabled=False):
            there = surjection.complete_pinv(y)
            origin = surjection.complete(torch.zeros(1, *image_shape, dtype=y.dtype, device=y.device))
        latents = sum((a - b).square().flatten(1).sum(1) for a, b in zip(there.z, origin.z, strict=True))
        shown = (there.y - origin.y).square().flatten(1).sum(1)
        self.natural += (shown + latents).double().sum()
        self.natural_latents += (shown * 0 + latents).double().sum()  # of a bijection there are none
        self.count += len(y)

    def compute(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) / self.count for name in ("natural", "natural_latents")}
