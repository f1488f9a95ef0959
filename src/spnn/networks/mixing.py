r"""Orthogonal channel mixing, :math:`u = W x`: a 1x1 convolution whose inverse is its transpose.

``W`` is a function of an unconstrained parameter, and computing it (a linear solve of the size of the channels) is far
more expensive than applying it. So ``W`` is computed once per weight update in training and once per model in
inference: :class:`~spnn.derived.Derived` caches it until the parameter changes.

(:func:`torch.nn.utils.parametrizations.orthogonal` computes ``W`` at each access outside a ``cached()`` block, keeps a
second matrix besides the parameter, and can't represent a product of a few reflections.)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spnn.derived import Derived
from spnn.errors import InputError
from spnn.networks.convolution import mix_channels, multiply

__all__ = [
    "MIXINGS",
    "CayleyMixing",
    "ExponentialMixing",
    "HouseholderMixing",
    "IdentityMixing",
    "OrthogonalMixing",
    "build_mixing",
]


class OrthogonalMixing(nn.Module, ABC):
    """An orthogonal 1x1 convolution. Subclasses define how ``W`` follows from ``self.parameter``.

    All uses of ``W`` between two weight updates share one graph (except in :class:`CayleyMixing`, which needs none). So
    losses must be differentiated either together, or each before the next one's forward pass.
    """

    def __init__(self, parameter: Tensor):
        super().__init__()
        self.parameter = nn.Parameter(parameter)
        self._derived = Derived()

    @abstractmethod
    def compute_weight(self, parameter: Tensor) -> Tensor:
        """Compute ``W``, [D, D], from the parameter (in single precision or better)."""

    @property
    def weight(self) -> Tensor:
        """The orthogonal matrix ``W``, [D, D], in single precision or better."""
        with_graph = torch.is_grad_enabled() and self.parameter.requires_grad
        return self._derived(lambda: self._compute(with_graph), [self.parameter], with_graph)

    def _compute(self, with_graph: bool) -> Tensor:
        weight = self.compute_weight(self.parameter.to(torch.promote_types(self.parameter.dtype, torch.float32)))
        if with_graph:
            # A backward pass frees the graph that W belongs to, so the next step needs a new one even if the
            # parameter has not changed (gradient accumulation).
            weight.register_hook(lambda _: self._derived.forget())
        return weight

    def forward(self, x: Tensor) -> Tensor:
        """Return ``W x``, [B, D, H, W] -> [B, D, H, W]."""
        return self._convolve(x, self.weight)

    def inverse(self, u: Tensor) -> Tensor:
        """Return ``W^T u``, [B, D, H, W] -> [B, D, H, W]."""
        return self._convolve(u, self.weight.T)

    @staticmethod
    def _convolve(x: Tensor, weight: Tensor) -> Tensor:
        # Never in half precision: the network is only invertible if W^T W = I, and the precision costs next to nothing.
        with torch.autocast(x.device.type, enabled=False):
            return mix_channels(x.to(weight.dtype), weight)


class CayleyMixing(OrthogonalMixing):
    r"""Cayley transform: :math:`W = (I + A)^{-1}(I - A) = 2 (I + A)^{-1} - I` with :math:`A = B - B^\top`.

    No gradient passes through the matrix inversion. Because :math:`dW = -\tfrac12 (W + I)\, dA\, (W + I)`, a gradient
    :math:`g` with respect to :math:`y = W x` becomes :math:`-\tfrac12 (g + W^\top g)(x + y)^\top` with respect to
    :math:`A`: one product of tensors that are already there, as for a linear layer's weights.

    Arguments:
        channels: D.
    """

    def __init__(self, channels: int):
        super().__init__(_skew_parameter(channels))

    def compute_weight(self, parameter: Tensor) -> Tensor:
        identity = torch.eye(len(parameter), dtype=parameter.dtype, device=parameter.device)
        return 2 * torch.linalg.inv(identity + parameter - parameter.T) - identity

    def forward(self, x: Tensor) -> Tensor:
        return self._apply_cayley(x, transpose=False)

    def inverse(self, u: Tensor) -> Tensor:
        return self._apply_cayley(u, transpose=True)

    def _apply_cayley(self, x: Tensor, transpose: bool) -> Tensor:
        with torch.no_grad():
            weight = self.weight
        if not (torch.is_grad_enabled() and self.parameter.requires_grad):
            return self._convolve(x, weight.T if transpose else weight)
        rows = x.to(weight.dtype).permute(0, 2, 3, 1)
        return _CayleyProduct.apply(rows, self.parameter, weight, transpose).permute(0, 3, 1, 2)


class _CayleyProduct(torch.autograd.Function):
    """``x W^T``, or ``x W`` if transposed, for rows ``x`` [..., D]."""

    @staticmethod
    def forward(x: Tensor, parameter: Tensor, weight: Tensor, transpose: bool) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return multiply(x, weight.T if transpose else weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.transpose = inputs
        ctx.save_for_backward(*tensors, output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, parameter, weight, y = ctx.saved_tensors
        back = _CayleyProduct.apply(g, parameter, weight, not ctx.transpose)
        with torch.autocast(g.device.type, enabled=False):
            outer = (g + back).flatten(0, -2).T @ (x + y).flatten(0, -2)
            # Transposing W turns A into -A.
            gradient = outer - outer.T if ctx.transpose else outer.T - outer
        return back, (0.5 * gradient).to(parameter.dtype), None, None


class ExponentialMixing(OrthogonalMixing):
    r"""Matrix exponential: :math:`W = e^A` with :math:`A = B - B^\top`. Reaches every rotation, but costs the most.

    Arguments:
        channels: D.
    """

    def __init__(self, channels: int):
        super().__init__(_skew_parameter(channels))

    def compute_weight(self, parameter: Tensor) -> Tensor:
        weight = torch.linalg.matrix_exp(parameter - parameter.T)
        # Squaring magnifies rounding (1e-4 at 3072 channels), so take one Newton-Schulz step to the nearest orthogonal
        # matrix.
        return 1.5 * weight - 0.5 * weight @ (weight.T @ weight)


class HouseholderMixing(OrthogonalMixing):
    r"""A product of reflections, :math:`W = H_n \cdots H_1`, :math:`H_i = I - 2 v_i v_i^\top / \|v_i\|^2`.

    Arguments:
        channels: D.
        reflections: n; the rows of the parameter [n, D] are the :math:`v_i`.
    """

    def __init__(self, channels: int, reflections: int = 8):
        super().__init__(torch.randn(reflections, channels))

    def compute_weight(self, parameter: Tensor) -> Tensor:
        weight = torch.eye(parameter.shape[1], dtype=parameter.dtype, device=parameter.device)
        for v in F.normalize(parameter, dim=1):
            weight = weight - 2 * torch.outer(v, v @ weight)
        return weight


class IdentityMixing(nn.Module):
    """No mixing, for comparison: each block keeps its first channels."""

    def __init__(self, channels: int):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``."""
        return x

    def inverse(self, u: Tensor) -> Tensor:
        """Return ``u``."""
        return u


def _skew_parameter(channels: int) -> Tensor:
    # Entries with deviation 1/sqrt(D) give a W far from the identity for any number of channels.
    return torch.randn(channels, channels) / channels**0.5


MIXINGS: dict[str, Callable[[int], OrthogonalMixing | IdentityMixing]] = {
    "cayley": CayleyMixing,
    "householder": HouseholderMixing,
    "exponential": ExponentialMixing,
    "identity": IdentityMixing,
}


def build_mixing(name: str, channels: int) -> OrthogonalMixing | IdentityMixing:
    """Build the mixing called ``name`` for ``channels`` channels.

    Raises:
        InputError: If there is no mixing of that name.
    """
    if name not in MIXINGS:
        raise InputError(f"no mixing is called {name!r}; choose one of {', '.join(MIXINGS)}.")
    return MIXINGS[name](channels)
