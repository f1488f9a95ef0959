"""A value that follows from parameters, computed once for each state of them."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import torch
from torch import Tensor
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


class Derived(Generic[Value]):
    """Remembers what was last computed from some parameters until one of them changes.

    A change is noticed by the tensors' version counters, which every update in place raises (an optimiser's step,
    ``load_state_dict``, ``copy_``), by their place in memory (``to``, a new parameter) and precision. What is written
    through ``parameter.data`` escapes the counters: call :meth:`forget` then. Copies and pickles start empty.
    """

    def __init__(self):
        self.forget()

    def forget(self) -> None:
        """Compute anew at the next call."""
        self._state = self._value = None

    @torch.compiler.disable  # version counters are no part of a compiled graph
    def __call__(self, compute: Callable[[], Value], parameters: Iterable[Tensor], with_graph: bool = False) -> Value:
        """Return ``compute()``, or what it returned for the same state of ``parameters``.

        It is called in full precision, whatever autocast says (the parameters' owner calls it in their own dtype), and
        with or without a graph for the backward pass, as ``with_graph`` says.
        """
        parameters = list(parameters)
        if any(p.is_inference() for p in parameters):  # no version counter to notice a change by
            return compute()
        state = [(p._version, p.data_ptr(), p.dtype, p.device, with_graph) for p in parameters]
        if self._state != state:
            # A tensor of inference mode could not enter a later graph.
            with (
                torch.inference_mode(False),
                torch.set_grad_enabled(with_graph),
                torch.autocast(parameters[0].device.type, enabled=False),
            ):
                self._value = compute()
            self._state = state
        return self._value

    def __reduce__(self):
        return Derived, ()  # a tensor inside a graph can't be copied
