"""A value that is derived from parameters, computed once for each state of the parameters."""

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
    # PyTorch's fused optimisers, and others that write through `.data`, don't increment the counters themselves.
    for group in optimizer.param_groups:
        increment_version([p for p in group["params"] if p.grad is not None])


register_optimizer_step_post_hook(_count_update)


class Derived(nn.Module):
    """Caches a value computed from some parameters until one of them changes.

    It detects a change by the tensors' identity, place in memory and version counters, which every in-place update
    increments (an optimiser's step, ``load_state_dict``, ``copy_``). As a submodule of the module that owns the
    parameters, it is also told of a conversion (``to``, ``float``) and of a change of mode (``train``, ``eval``). The
    latter matters because averaged weights are then swapped in and out through ``parameter.data``, which the counters
    don't see. Any other code that writes to ``.data`` must call :meth:`forget`. Copies and pickles start empty.
    ``torch.export`` and transforms of :mod:`torch.func` over the parameters themselves can't trace through it.
    """

    def __init__(self):
        super().__init__()
        self.forget()

    def forget(self) -> None:
        """Forget the value, so that the next call computes it again."""
        self._kept: list[Tensor] = []  # keeps them alive, so that no other parameter can take their place in memory
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
        """Return ``compute()``, or its last result if the state of ``parameters`` and the ``key`` are still the same.

        ``compute`` is called without autocast; ``with_graph`` determines whether it builds a graph for the backward
        pass.
        """
        parameters = list(parameters)
        # A tensor of inference mode could not enter a later graph.
        with (
            torch.inference_mode(False),
            torch.set_grad_enabled(with_graph),
            torch.autocast(parameters[0].device.type, enabled=False),
        ):
            if any(p.is_inference() for p in parameters):  # they have no version counter that would show a change
                return compute()
            state = ([(id(p), p._version, p.data_ptr()) for p in parameters], with_graph, key)
            if self._state != state:
                self._value, self._state, self._kept = compute(), state, parameters
        return self._value
