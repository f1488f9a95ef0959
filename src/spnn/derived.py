"""A value that follows from parameters, computed once for each state of them."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

__all__ = ["Derived"]

Value = TypeVar("Value")


def _count_update(optimizer: Optimizer, _args: tuple, _kwargs: dict) -> None:
    # PyTorch's fused optimisers, and others that write through `.data`, don't raise the counters themselves.
    for group in optimizer.param_groups:
        increment_version([p for p in group["params"] if p.grad is not None])


register_optimizer_step_post_hook(_count_update)


class Derived(nn.Module):
    """Remembers what was last computed from some parameters until one of them changes.

    A change is noticed by the tensors' identity, place in memory and version counters, which every update in place
    raises (an optimiser's step, ``load_state_dict``, ``copy_``). As a part of the module that owns the parameters it
    also hears of a conversion (``to``, ``float``) and of a change of mode (``train``, ``eval``), with which averaged
    weights are swapped in and out through ``parameter.data``, unseen by the counters. Whoever else writes there calls
    :meth:`forget`. Copies and pickles start empty. ``torch.export`` and transforms of :mod:`torch.func` over the
    parameters themselves can't look through it.
    """

    def __init__(self):
        super().__init__()
        self.forget()

    def forget(self) -> None:
        """Compute anew at the next call."""
        self._kept: list[Tensor] = []  # alive, so that no other parameter can come to lie where they do
        self._state: object = None
        self._value: Any = None

    def train(self, mode: bool = True) -> "Derived":
        self.forget()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> "Derived":
        self.forget()
        return super()._apply(*args, **kwargs)

    def __reduce__(self):
        return Derived, ()  # a tensor inside a graph can't be copied

    def forward(
        self,
        compute: Callable[[], Value],
        parameters: Iterable[Tensor],
        with_graph: bool = False,
        key: Hashable = None,
    ) -> Value:
        """Return ``compute()``, or what it returned for the same state of ``parameters`` and the same ``key``.

        It is called without autocast, and with or without a graph for the backward pass, as ``with_graph`` says.
        """
        parameters = list(parameters)
        # A tensor of inference mode could not enter a later graph.
        with (
            torch.inference_mode(False),
            torch.set_grad_enabled(with_graph),
            torch.autocast(parameters[0].device.type, enabled=False),
        ):
            if any(p.is_inference() for p in parameters):  # no version counter to notice a change by
                return compute()
            state = ([(id(p), p._version, p.data_ptr()) for p in parameters], with_graph, key)
            if self._state != state:
                self._value, self._state, self._kept = compute(), state, parameters
        return self._value
