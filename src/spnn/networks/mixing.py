r"""Orthogonal channel mixing, :math:`u = W x`: a 1x1 convolution whose inverse is its transpose.

``W`` is a function of an unconstrained parameter, and that function is far dearer than its application (a linear
solve of the size of the channels). So ``W`` is computed once per weight update in training and once per model in
inference, whoever asks: :class:`OrthogonalMixing` remembers it until the parameter changes.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spnn.errors import InputError
from spnn.networks.pointwise import mix_channels

__all__ = ["MIXINGS", "CayleyMixing", "HouseholderMixing", "OrthogonalMixing", "build_mixing"]


class OrthogonalMixing(nn.Module, ABC):
    """An orthogonal 1x1 convolution. Subclasses say how ``W`` follows from ``self.parameter``.

    As all uses of ``W`` between two weight updates share one graph, losses that are to be differentiated are summed
    and go backward together, or each goes backward before the next one's forward pass.
    """

    def __init__(self, parameter: Tensor):
        super().__init__()
        self.parameter = nn.Parameter(parameter)
        self._remembered: tuple | None = None

    @abstractmethod
    def compute_weight(self) -> Tensor:
        """Compute ``W``, [D, D], from ``self.parameter``."""

    @property
    def weight(self) -> Tensor:
        """The orthogonal matrix ``W``, [D, D], in the parameter's precision."""
        p = self.parameter
        if p.is_inference():  # has no version counter to notice a change by
            return self.compute_weight()
        with_graph = torch.is_grad_enabled() and p.requires_grad
        state = (p._version, p.data_ptr(), p.dtype, p.device, with_graph)
        if self._remembered is None or self._remembered[0] != state:
            # Autocast would round W, and an inference tensor could not enter a later graph.
            with (
                torch.inference_mode(False),
                torch.set_grad_enabled(with_graph),
                torch.autocast(p.device.type, enabled=False),
            ):
                weight = self.compute_weight()
            if with_graph:
                # A backward pass frees the graph that W belongs to: the next step needs a new one even where the
                # parameter has not changed (gradient accumulation).
                weight.register_hook(self._forget)
            self._remembered = (state, weight)
        return self._remembered[1]

    def _forget(self, _gradient: Tensor) -> None:
        self._remembered = None

    def train(self, mode: bool = True) -> "OrthogonalMixing":
        # Averaged weights are swapped in and out through `.data`, which no version counter sees; a change of mode
        # goes with it.
        self._remembered = None
        return super().train(mode)

    def __getstate__(self) -> dict:
        # Copies and pickles start afresh: a tensor inside a graph can't be copied.
        return {**self.__dict__, "_remembered": None}

    def forward(self, x: Tensor) -> Tensor:
        """Return ``W x``, [B, D, H, W] -> [B, D, H, W]."""
        return self._convolve(x, self.weight)

    def inverse(self, u: Tensor) -> Tensor:
        """Return ``W^T u``, [B, D, H, W] -> [B, D, H, W]."""
        return self._convolve(u, self.weight.T)

    @staticmethod
    def _convolve(x: Tensor, weight: Tensor) -> Tensor:
        # Never in half precision: W^T W = I is what makes the network invertible, and it costs next to nothing.
        with torch.autocast(x.device.type, enabled=False):
            return mix_channels(x.to(weight.dtype), weight)


class CayleyMixing(OrthogonalMixing):
    r"""Cayley transform: :math:`W = (I + A)^{-1}(I - A)` with the skew-symmetric :math:`A = B - B^\top`.

    Arguments:
        channels: D.
    """

    def __init__(self, channels: int):
        # B's entries of deviation 1/sqrt(D) give a W well away from the identity, whatever the number of channels.
        super().__init__(torch.randn(channels, channels) / channels**0.5)

    def compute_weight(self) -> Tensor:
        skew = self.parameter - self.parameter.T
        identity = torch.eye(len(skew), dtype=skew.dtype, device=skew.device)
        return torch.linalg.solve(identity + skew, identity - skew)


class HouseholderMixing(OrthogonalMixing):
    r"""A product of reflections, :math:`W = H_n \cdots H_1`, :math:`H_i = I - 2 v_i v_i^\top / \|v_i\|^2`.

    Arguments:
        channels: D.
        reflections: n; the rows of the parameter [n, D] are the :math:`v_i`.
    """

    def __init__(self, channels: int, reflections: int = 8):
        super().__init__(torch.randn(reflections, channels))

    def compute_weight(self) -> Tensor:
        weight = torch.eye(self.parameter.shape[1], dtype=self.parameter.dtype, device=self.parameter.device)
        for v in F.normalize(self.parameter, dim=1):
            weight = weight - 2 * torch.outer(v, v @ weight)
        return weight


MIXINGS = {"cayley": CayleyMixing, "householder": HouseholderMixing}


def build_mixing(name: str, channels: int) -> OrthogonalMixing:
    """Build the mixing called ``name`` for ``channels`` channels.

    Raises:
        InputError: If there is no mixing of that name.
    """
    if name not in MIXINGS:
        raise InputError(f"no mixing is called {name!r}; choose one of {', '.join(MIXINGS)}.")
    return MIXINGS[name](channels)
