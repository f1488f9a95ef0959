r"""Weights of the attributes in the loss of phase 1, set by how their losses on validation images change over time.

At regular intervals, each attribute's loss on one validation batch is kept. Among the latest ``2k`` of these losses,
let :math:`b` be an attribute's mean over the older half and :math:`a` over the newer half. Its weight is

.. math:: w \propto \frac{|a - b| / a}{\mathrm{mean}(|a - b| / a)} \cdot \frac{a}{\mathrm{mean}(a)},

with mean 1 over the attributes: hard attributes, and those whose loss is still changing, get more weight.

References:
    Pseudo-Invertible Neural Networks (Ehrlich, Berman, Shocher, 2026), https://arxiv.org/abs/2602.06042
    Adaptively Weighted Multi-task Deep Network for Person Attribute Classification (He et al., 2017)
"""

import torch
from torch import Tensor, nn

__all__ = ["AdaptiveWeights"]


class AdaptiveWeights(nn.Module):
    """Weights of K attributes; all are 1 until enough losses are kept.

    Arguments:
        attributes: K.
        interval: Steps from one kept loss to the next.
        window: k, the number of kept losses in each of the two means.
    """

    weights: Tensor
    """[K], with mean 1."""
    history: Tensor
    """The latest 2k losses, newest last, [2k, K]; NaN where there are none yet."""
    newest: Tensor
    """The step of the newest loss, a number."""

    def __init__(self, attributes: int, interval: int = 100, window: int = 100):
        super().__init__()
        self.interval = interval
        self.register_buffer("weights", torch.ones(attributes))
        self.register_buffer("newest", torch.tensor(0))
        self.register_buffer("history", torch.full((2 * window, attributes), torch.nan))

    def update(self, losses: Tensor) -> None:
        """Keep the losses [K] of a validation batch, and update the weights."""
        self.history.copy_(torch.cat([self.history[1:], losses[None].to(self.history)]))
        if self.history.isnan().any():
            return
        older, newer = self.history.chunk(2)
        before, now = older.mean(0), newer.mean(0)
        trend = (now - before).abs() / now.clamp(min=torch.finfo(now.dtype).tiny)
        if trend.mean() > 0:  # if no loss changes, keep the weights
            weights = trend / trend.mean() * now / now.mean()
            self.weights.copy_(weights / weights.mean())
