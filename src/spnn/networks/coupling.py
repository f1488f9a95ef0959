r"""One surjective block: mix the channels, keep ``d`` of ``D``, rescaled and shifted depending on the other ones.

.. math::
    u = W\,\mathrm{unshuffle}(x), \quad u = (x_0, x_1), \qquad
    y = x_0 \odot s(x_1) + t(x_1), \quad z = x_1, \qquad s > 0.

Given any ``x_1``, the block is inverted by :math:`x_0 = (y - t(x_1)) / s(x_1)`, :math:`x = W^\top (x_0, x_1)`. The
bijection keeps ``x_1`` as the latent; the pseudo-inverse chooses :math:`x_1 = r(y)`. Because ``r`` is not part of
``g``, :math:`g g^\dagger = \mathrm{id}` holds for any ``r``, trained or not.

Mixing, scaling and shifting are computed in the precision of ``W``, which is at least single, even under autocast;
sub-networks are computed in the precision of their weights or autocast's. Both directions round a sub-network's output
in the same way, so in half precision the inverse is still an exact inverse, of a slightly different network.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from spnn.errors import InputError
from spnn.networks.layers import SubNetwork, free_form
from spnn.networks.mixing import build_mixing
from spnn.surjection import Completion, Surjection

__all__ = ["SurjectiveCoupling"]


class SurjectiveCoupling(Surjection):
    r"""Surjective affine coupling, [B, C, H, W] -> [B, channels, H/f, W/f] with ``f = unshuffle``.

    Arguments:
        in_channels: C.
        channels: d, how many of the :math:`D = f^2 C` channels are kept; ``0 < d < D``.
        unshuffle: f, the factor of the pixel-unshuffle that comes first; 1 for none.
        st: Layers of one sub-network that gives both the log-scale and the shift (see :mod:`spnn.networks.layers`).
        s, t: Layers of separate sub-networks for log-scale and shift, instead of ``st``; as published.
        r: Layers of the auxiliary sub-network that chooses the latents of the pseudo-inverse.
        hidden: Width of the free-form layers used for any of ``s``, ``t`` and ``r`` that isn't given.
        mixing: Name of the orthogonal mixing, a key of :data:`spnn.networks.mixing.MIXINGS`.
        scale_bound: :math:`s = \exp(b \tanh(\cdot))` with this ``b``: the scale lies in :math:`[e^{-b}, e^b]`.
        shift_bound: :math:`t = b \tanh(\cdot)` with this ``b``. Unbounded shifts make back-projection explode at high
            noise.
        size: (H, W) of the images, if it is always the same: sub-networks that don't keep the size are then refused
            when the block is built.
        checkpoint: If gradients are needed, recompute the activations inside ``s``, ``t`` and ``r`` for the backward
            pass instead of keeping them.

    Raises:
        InputError: If ``channels`` is not below D, the sub-networks are given in neither of the two forms, or they
            don't fit images of ``size``.
    """

    num_latents = 1

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        unshuffle: int = 1,
        st: str | None = None,
        s: str | None = None,
        t: str | None = None,
        r: str | None = None,
        hidden: int | None = None,
        mixing: str = "cayley",
        scale_bound: float = 2.0,
        shift_bound: float = 1.0,
        size: tuple[int, int] | None = None,
        checkpoint: bool = False,
    ):
        super().__init__()
        if unshuffle < 1 or (size is not None and any(n % unshuffle for n in size)):
            pixels = "pixels" if size is None else f"{size[0]}x{size[1]} pixels"
            raise InputError(f"{pixels} can't be unshuffled by {unshuffle}.")
        mixed = in_channels * unshuffle**2
        if not 0 < channels < mixed:
            raise InputError(f"a block must lower its {mixed} channels, not turn them into {channels}.")
        if size is not None:
            size = (size[0] // unshuffle, size[1] // unshuffle)
        self.unshuffle, self.channels = unshuffle, channels
        self.scale_bound, self.shift_bound = scale_bound, shift_bound
        self.checkpoint = checkpoint
        self.mixing = build_mixing(mixing, mixed)
        latent = mixed - channels
        if hidden is not None:
            if st is None:
                s, t = (free_form(hidden, latent, size) if text is None else text for text in (s, t))
            r = r or free_form(hidden, channels, size)
        if st is not None and s is None and t is None:
            self.st = SubNetwork(st, latent, 2 * channels)
        elif st is None and s is not None and t is not None:
            self.s = SubNetwork(s, latent, channels)
            self.t = SubNetwork(t, latent, channels)
        else:
            raise InputError("give a block's log-scale and shift as one network, `st`, or as two, `s` and `t`.")
        if r is None:
            raise InputError("give a block's auxiliary network, `r`, or a width of free-form ones, `hidden`.")
        self.r = SubNetwork(r, channels, latent)
        for name, network in self.named_children():
            if size is not None and isinstance(network, SubNetwork) and network.size_after(size) != size:
                after = "x".join(map(str, network.size_after(size)))
                raise InputError(
                    f"`{name}` turns {size[0]}x{size[1]} pixels into {after}: its strides, ups and shuffles must "
                    f"cancel ({network.text!r})."
                )

    def pinv_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of ``r``."""
        return self.r.parameters()

    def complete(self, x: Tensor) -> Completion:
        """Return ``(y, [z])``, [B, C, H, W] -> [B, d, H/f, W/f], [B, D-d, H/f, W/f]."""
        u = self.mixing(F.pixel_unshuffle(x, self.unshuffle) if self.unshuffle > 1 else x)
        x0, x1 = u[:, : self.channels], u[:, self.channels :]
        log_scale, shift = self._log_scale_and_shift(x1)
        return Completion(torch.addcmul(shift, x0, log_scale.exp()), [x1])

    def invert(self, y: Tensor, z: list[Tensor]) -> Tensor:
        """Return the ``x`` whose completion is ``(y, [z])``."""
        return self._invert(y, *z)[0]

    def invert_with_log_det(self, y: Tensor, z: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return that ``x``, and the sum of the negative log-scales, [B]; all other parts are orthogonal or shifts."""
        x, log_scale = self._invert(y, *z)
        return x, -log_scale.flatten(1).sum(1)

    def _invert(self, y: Tensor, x1: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._log_scale_and_shift(x1)
        x0 = (y - shift) * torch.exp(-log_scale)
        x = self.mixing.inverse(torch.cat((x0, x1), dim=1))
        return F.pixel_shuffle(x, self.unshuffle) if self.unshuffle > 1 else x, log_scale

    def complete_pinv(self, y: Tensor) -> Completion:
        """Return ``(y, [r(y)])``: this only needs the sub-network ``r``, no mixing, scale or shift."""
        return Completion(y, [self._run(self.r, y).tanh()])

    def _log_scale_and_shift(self, x1: Tensor) -> tuple[Tensor, Tensor]:
        if hasattr(self, "st"):
            s, t = self._run(self.st, x1).chunk(2, dim=1)
        else:
            s, t = self._run(self.s, x1), self._run(self.t, x1)
        return self.scale_bound * s.tanh(), self.shift_bound * t.tanh()

    def _run(self, network: SubNetwork, x: Tensor) -> Tensor:
        if self.checkpoint and torch.is_grad_enabled():
            return checkpoint(network, x, use_reentrant=False)
        return network(x)
