r"""Which latents the pseudo-inverse takes: the variants that the paper's ablation compares.

Any choice of latents gives a right inverse (:math:`g g^\dagger = \mathrm{id}`); the choices differ in which point of
:math:`\{x : g(x) = y\}` they take.

===============  =====================================================================================
``trained``      the output of the surjection's own auxiliary networks, :math:`r(y)`
``random``       the same networks with new random weights
``zero``         zero
``closed_form``  the latents of :math:`G(0)`: the minimiser of Definition 4.2 itself, with nothing to train
===============  =====================================================================================
"""

import copy
from typing import Literal, get_args
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from spnn.derived import Derived
from spnn.errors import InputError
from spnn.surjection import Completion, Surjection

__all__ = ["ConstantLatents", "Pinv", "with_pinv"]

Pinv = Literal["trained", "random", "zero", "closed_form"]

_random: WeakKeyDictionary[Surjection, Derived] = WeakKeyDictionary()


class ConstantLatents(Surjection):
    r"""A surjection whose pseudo-inverse has the same latents for every ``y``: zero, or those of :math:`G(0)`.

    With constant latents, Claim 2 holds: back-projection is the orthogonal projection in the metric of :math:`G`. It is
    also cheaper: the latents of ``x`` stay the same, and no auxiliary network is run.

    Arguments:
        surjection: :math:`g`, shared with this module. If it changes (except through ``.data``), the latents follow; no
            gradient flows into them.
        zero: Whether the latents are zero instead of those of :math:`G(0)`.
    """

    def __init__(self, surjection: Surjection, *, zero: bool = False):
        super().__init__()
        self.surjection, self.zero = surjection, zero
        self.num_latents = surjection.num_latents
        self._derived = Derived()

    def complete(self, x: Tensor) -> Completion:
        """The same as the surjection's."""
        return self.surjection.complete(x)

    def invert(self, y: Tensor, z: list[Tensor]) -> Tensor:
        """The same as the surjection's."""
        return self.surjection.invert(y, z)

    def invert_with_log_det(self, y: Tensor, z: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The same as the surjection's."""
        return self.surjection.invert_with_log_det(y, z)

    def nearest_latents(self, z: list[Tensor]) -> list[Tensor]:
        """The same as the surjection's."""
        return self.surjection.nearest_latents(z)

    def complete_pinv(self, y: Tensor) -> Completion:
        """Return ``(y, the constant latents)``."""

        def compute() -> list[Tensor]:
            origin = torch.zeros_like(self.surjection.pinv(y.new_zeros(1, *y.shape[1:])))
            z = self.surjection.complete(origin).z
            return [torch.zeros_like(latent) for latent in z] if self.zero else z

        parameters = [*self.surjection.parameters(), *self.surjection.buffers()]
        latents = self._derived(compute, parameters, key=(y.shape[1:], y.dtype)) if parameters else compute()
        return Completion(y, [z.to(y.dtype).expand(len(y), *z.shape[1:]) for z in latents])


def with_pinv(surjection: Surjection, pinv: Pinv, seed: int = 0) -> Surjection:
    """The same ``g`` with another pseudo-inverse.

    Arguments:
        surjection: The surjection, which is not changed; all variants except ``random`` share its weights.
        pinv: The variant, see :mod:`spnn.latents`.
        seed: Seed for the ``random`` weights.

    Raises:
        InputError: If there is no such variant.
    """
    if pinv == "trained":
        return surjection
    if pinv in ("zero", "closed_form"):
        return ConstantLatents(surjection, zero=pinv == "zero")
    if pinv == "random":
        kept = _random.setdefault(surjection, Derived())  # a guidance asks again for each batch
        parameters = [*surjection.parameters(), *surjection.buffers()]
        return kept(lambda: _with_random(surjection, seed), parameters, key=seed) if parameters else surjection
    raise InputError(f"no pseudo-inverse is called {pinv!r}; choose one of {', '.join(get_args(Pinv))}.")


def _with_random(surjection: Surjection, seed: int) -> Surjection:
    surjection = copy.deepcopy(surjection)
    generator = torch.Generator().manual_seed(seed)
    for parameter in surjection.pinv_parameters():
        values = torch.zeros(parameter.shape)
        if parameter.ndim > 1:  # weights are drawn as for a new layer; biases are zero
            nn.init.kaiming_uniform_(values, a=5**0.5, generator=generator)
        with torch.no_grad():
            parameter.copy_(values)
    return surjection
