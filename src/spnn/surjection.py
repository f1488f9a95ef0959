r"""Surjections with an exact pseudo-inverse, and non-linear back-projection.

A surjection :math:`g : X \to Y`, :math:`\dim Y < \dim X`, is the visible half of a bijection, its *completion*

.. math:: G(x) = (g(x), q(x)),

where the *latents* :math:`z = q(x)` keep the information that :math:`g` discards. The completion gives :math:`g` a
natural pseudo-inverse (Definition 4.2),

.. math:: g^\dagger(y) = \arg\min_{x : g(x) = y} \| G(x) - G(0) \|^2,

which satisfies :math:`g g^\dagger g = g` and :math:`g^\dagger g g^\dagger = g^\dagger`, and a non-linear
back-projection (NLBP, Definition 4.3),

.. math:: x' = G^{-1}\big( G(x) + \lambda\, [\, G(g^\dagger(y)) - G(g^\dagger(g(x)))\, ] \big).

At :math:`\lambda = 1`, :math:`g(x') = y` exactly, for any choice of latents (Claim 1). With the natural
:math:`g^\dagger`, whose latents are those of :math:`G(0)` for every :math:`y`, :math:`x'` is the orthogonal projection
of :math:`x` on :math:`\{g = y\}` in the metric of :math:`G` (Claim 2). For a linear :math:`g = A`, NLBP reduces to
:math:`x + \lambda A^\dagger (y - A x)`.

:math:`G(g^\dagger(y))` is never computed by a forward pass: its first half *is* :math:`y`, and its second half holds
the latents that the pseudo-inverse chose on the way. :meth:`Surjection.complete_pinv` returns the pair, so a step of
NLBP costs one forward pass, one choice of latents, and one inverse; the target's half can be computed once.

References:
    Pseudo-Invertible Neural Networks (Ehrlich, Berman, Shocher, 2026), https://arxiv.org/abs/2602.06042
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spnn.errors import InputError

__all__ = ["Bijection", "Completion", "Composition", "Surjection"]


class Completion(NamedTuple):
    """A point in the completed space: :math:`G(x) = (g(x), q(x))`.

    Attributes:
        y: The surjection's output, [B, ...].
        z: The discarded information: a list of latents, outermost block first, each [B, ...].
    """

    y: Tensor
    z: list[Tensor]

    def select(self, which: Tensor) -> "Completion":
        """The samples of the batch that ``which``, a mask or indices, selects."""
        return Completion(self.y[which], [z[which] for z in self.z])


class Surjection(nn.Module, ABC):
    """The interface of blocks, networks and operators. All tensors have a batch dimension first.

    A subclass implements three methods (:meth:`complete`, :meth:`invert`, :meth:`complete_pinv`); calling the module,
    :meth:`pinv` and :meth:`back_project` follow from them.
    """

    num_latents: int
    """Number of tensors in the list of latents; 0 for a bijection."""

    @abstractmethod
    def complete(self, x: Tensor) -> Completion:
        """Apply the bijection :math:`G`: ``y, z = complete(x)``."""

    @abstractmethod
    def invert(self, y: Tensor, z: list[Tensor]) -> Tensor:
        """Apply :math:`G^{-1}`: the only ``x`` with ``complete(x) == (y, z)``."""

    @abstractmethod
    def complete_pinv(self, y: Tensor) -> Completion:
        r"""Return :math:`G(g^\dagger(y))`, without a forward pass and without forming :math:`g^\dagger(y)`."""

    def invert_with_log_det(self, y: Tensor, z: list[Tensor]) -> tuple[Tensor, Tensor]:
        r"""Return :math:`G^{-1}(y, z)` and how it stretches volumes there, :math:`\log |\det dG^{-1}|`, [B], up to a
        constant. Densities on :math:`\{g = y\}` need it.

        Raises:
            InputError: If the surjection doesn't implement it.
        """
        raise _silent(self, "invert_with_log_det(y, z)")

    def nearest_latents(self, z: list[Tensor]) -> list[Tensor]:
        """The latents nearest to ``z`` that an image can have: ``z`` itself, unless latents are redundant."""
        return z

    def forward(self, x: Tensor) -> Tensor:
        """Apply the surjection :math:`g`."""
        return self.complete(x).y

    def pinv(self, y: Tensor) -> Tensor:
        r"""Apply the pseudo-inverse :math:`g^\dagger`."""
        return self.pinv_with_completion(y)[0]

    def pinv_with_completion(self, y: Tensor) -> tuple[Tensor, Completion]:
        r"""Return :math:`g^\dagger(y)` and :math:`G(g^\dagger(y))`; both together cost no more than the first."""
        completion = self.complete_pinv(y)
        return self.invert(*completion), completion

    def pinv_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that only affect the pseudo-inverse's latents: :math:`g` doesn't depend on them."""
        return iter(())

    def back_project(
        self,
        x: Tensor,
        target: Tensor | Completion,
        strength: float | Tensor = 1.0,
        *,
        completed: Completion | None = None,
    ) -> Tensor:
        r"""Move ``x`` towards :math:`\{x' : g(x') = y\}` by non-linear back-projection (Definition 4.3).

        Arguments:
            x: The point to move, [B, ...].
            target: The wanted ``y``, [B, ...], or :math:`G(g^\dagger(y))` if :meth:`complete_pinv` already gave it
                (it does not change while sampling, so compute it once per target).
            strength: :math:`\lambda`, a number or one per sample, [B]. 1 satisfies the constraint exactly, 0 returns
                ``x``, and values in between give *gentle* back-projection.
            completed: ``complete(x)``, if the caller already has it.

        Returns:
            The moved point, with the shape of ``x``.

        Raises:
            InputError: If ``target`` does not have the shape of ``g(x)``, or ``strength`` is neither a number nor [B].
        """
        return self._nlbp(x, *self._ends(x, target, completed), strength)

    def _nlbp(self, x: Tensor, here: Completion, there: Completion, strength: float | Tensor) -> Tensor:
        r"""NLBP from ``x``, given :math:`G(x)`, to :math:`G(g^\dagger(y))`."""
        nearest = self.complete_pinv(here.y)
        return self.invert(_move(here.y, there.y, strength), _move_latents(here.z, there.z, nearest.z, strength))

    def naive_back_project(
        self,
        x: Tensor,
        target: Tensor | Completion,
        strength: float | Tensor = 1.0,
        *,
        completed: Completion | None = None,
    ) -> Tensor:
        r"""The plain rule :math:`x + \lambda\,(g^\dagger(y) - g^\dagger(g(x)))`, for comparison with NLBP.

        Arguments and errors are those of :meth:`back_project`. For a non-linear :math:`g`, the result does not satisfy
        :math:`g(x') = y`.
        """
        return self._naive(x, *self._ends(x, target, completed), strength)

    def _naive(self, x: Tensor, here: Completion, there: Completion, strength: float | Tensor) -> Tensor:
        return x + per_sample(strength, x) * (self.invert(*there) - self.pinv(here.y))

    def _ends(
        self, x: Tensor, target: Tensor | Completion, completed: Completion | None
    ) -> tuple[Completion, Completion]:
        r"""Where a back-projection starts, :math:`G(x)`, and where it goes, :math:`G(g^\dagger(y))`."""
        here = self.complete(x) if completed is None else completed
        y = target.y if isinstance(target, Completion) else target
        if y.shape != here.y.shape:
            raise InputError(
                f"the target has shape {tuple(y.shape)}, but g(x) has shape {tuple(here.y.shape)}: "
                "give one target per sample."
            )
        return here, target if isinstance(target, Completion) else self.complete_pinv(target)


def _move(here: Tensor, there: Tensor, strength: float | Tensor) -> Tensor:
    # lerp, not y + λ(target − y), because at λ = 1 it returns the target bit for bit.
    return torch.lerp(here, there.to(here.dtype), per_sample(strength, here))


def _move_latents(
    here: list[Tensor], there: list[Tensor], nearest: list[Tensor], strength: float | Tensor
) -> list[Tensor]:
    return [at + per_sample(strength, at) * (to - near) for at, to, near in zip(here, there, nearest, strict=True)]


def per_sample(strength: float | Tensor, x: Tensor) -> Tensor:
    """Return the strength as a tensor that multiplies ``x`` sample by sample."""
    strength = torch.as_tensor(strength, dtype=x.dtype, device=x.device)
    if strength.ndim == 0:
        return strength
    if strength.shape != x.shape[:1]:
        raise InputError(
            f"strength has shape {tuple(strength.shape)}, expected a number or one per sample, ({len(x)},)."
        )
    return strength.reshape(-1, *(1,) * (x.ndim - 1))


def _silent(surjection: Surjection, method: str) -> InputError:
    return InputError(
        f"{type(surjection).__name__} doesn't say how it stretches volumes, which sampling on the fibre needs: "
        f"implement {method}, or choose another guidance."
    )


class Bijection(Surjection):
    r"""A change of coordinates :math:`\varphi`: a surjection that discards nothing; its pseudo-inverse is its inverse.

    ``Composition(phi, A)`` is then :math:`g = A \circ \varphi`, with :math:`g^\dagger = \varphi^{-1} \circ A^\dagger`
    (coordinate consistency). A subclass implements :meth:`forward` and :meth:`inverse`.
    """

    num_latents = 0

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        r"""Apply :math:`\varphi`."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        r"""Apply :math:`\varphi^{-1}`."""

    def complete(self, x: Tensor) -> Completion:
        r"""Return ``(φ(x), [])``."""
        return Completion(self(x), [])

    def invert(self, y: Tensor, z: list[Tensor]) -> Tensor:
        r"""Return ``φ^{-1}(y)``; there are no latents."""
        return self.inverse(y)

    def complete_pinv(self, y: Tensor) -> Completion:
        """Return ``(y, [])``."""
        return Completion(y, [])

    def invert_with_log_det(self, y: Tensor, z: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.inverse_with_log_det(y)

    def inverse_with_log_det(self, y: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`\varphi^{-1}(y)` and :math:`\log |\det d\varphi^{-1}|`, [B], up to a constant.

        Raises:
            InputError: If the bijection doesn't implement it.
        """
        raise _silent(self, "inverse_with_log_det(y)")


class Composition(Surjection):
    r"""Surjections one after the other, :math:`g = g_n \circ \dots \circ g_1`, which is a surjection again.

    Its latents are those of its parts in order, with the outermost (:math:`g_1`) first.

    Arguments:
        *parts: :math:`g_1, \dots, g_n`, in the order in which they are applied.
    """

    parts: Sequence[Surjection]

    def __init__(self, *parts: Surjection):
        super().__init__()
        if not parts:
            raise InputError("a composition needs at least one part.")
        self.parts = nn.ModuleList(parts)  # type: ignore[assignment]  # torch doesn't type what a ModuleList holds
        self.num_latents = sum(part.num_latents for part in parts)

    def pinv_parameters(self) -> Iterator[nn.Parameter]:
        return chain.from_iterable(part.pinv_parameters() for part in self.parts)

    def complete(self, x: Tensor) -> Completion:
        latents: list[Tensor] = []
        for part in self.parts:
            x, z = part.complete(x)
            latents += z
        return Completion(x, latents)

    def invert(self, y: Tensor, z: list[Tensor]) -> Tensor:
        for part, own in reversed(list(zip(self.parts, self._by_part(z), strict=True))):
            y = part.invert(y, own)
        return y

    def invert_with_log_det(self, y: Tensor, z: list[Tensor]) -> tuple[Tensor, Tensor]:
        total = y.new_zeros(len(y))
        for part, own in reversed(list(zip(self.parts, self._by_part(z), strict=True))):
            y, log_det = part.invert_with_log_det(y, own)
            if log_det.shape != total.shape:
                raise InputError(
                    f"{type(part).__name__}'s inverse must give one log-determinant for each image, "
                    f"{list(total.shape)}, got {list(log_det.shape)}."
                )
            total = total + log_det
        return y, total

    def nearest_latents(self, z: list[Tensor]) -> list[Tensor]:
        parts = zip(self.parts, self._by_part(z), strict=True)
        return list(chain.from_iterable(part.nearest_latents(own) for part, own in parts))

    def complete_pinv(self, y: Tensor) -> Completion:
        outermost, *inner = self.parts
        x, latents = self._descend(inner, y)
        return Completion(y, outermost.complete_pinv(x).z + latents)

    def pinv_with_completion(self, y: Tensor) -> tuple[Tensor, Completion]:
        x, latents = self._descend(self.parts, y)
        return x, Completion(y, latents)

    @staticmethod
    def _descend(parts: Sequence[Surjection], y: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The pseudo-inverse of a sequence of parts, and the latents that it chose on the way."""
        latents: list[Tensor] = []
        for part in reversed(parts):
            y, (_, z) = part.pinv_with_completion(y)
            latents = z + latents
        return y, latents

    def _nlbp(self, x: Tensor, here: Completion, there: Completion, strength: float | Tensor) -> Tensor:
        # The two inversions, for the nearest latents and for the result, go through each part as one batch: on small
        # maps, reading the weights costs as much as using them.
        near, moved = here.y, _move(here.y, there.y, strength)
        outermost, *inner = zip(self.parts, self._by_part(here.z), self._by_part(there.z), strict=True)
        for part, at, to in reversed(inner):
            _, z_near = part.complete_pinv(near)
            z_moved = _move_latents(at, to, z_near, strength)
            pairs = zip(z_near, z_moved, strict=True)
            near, moved = part.invert(torch.cat((near, moved)), [torch.cat(pair) for pair in pairs]).chunk(2)
        part, at, to = outermost  # g†(g(x)) itself is not needed
        return part.invert(moved, _move_latents(at, to, part.complete_pinv(near).z, strength))

    def _by_part(self, z: list[Tensor]) -> list[list[Tensor]]:
        """The latents of each part, outermost first."""
        rest = iter(z)
        return [list(islice(rest, part.num_latents)) for part in self.parts]
