r"""Our guidances as algorithms for InverseBench, on its networks and forward operators.

Name the class in one of InverseBench's configs, and its ``main.py`` runs it like its own algorithms::

    method:                                  # configs/algorithm/nlbp.yaml, there
      _target_: spnn.inversebench.InverseBenchAlgorithm
      steps: 100

InverseBench's linear operators are affine, :math:`x \mapsto A x + b`, because they first convert images to their units.
An operator may know the singular value decomposition of a multiple of :math:`A`: its ``Ut``, ``S``, ``M`` (which
singular values count), ``V`` and ``Vt``. We measure which multiple it is.

References:
    InverseBench (Zheng et al., 2025), https://arxiv.org/abs/2503.11043, https://github.com/devzhk/InverseBench
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from spnn.diffusion.edm import EDMPrior
from spnn.errors import InputError
from spnn.operators import LinearOperator
from spnn.session import Session
from spnn.surjection import Completion

__all__ = ["ForwardOperator", "InverseBenchAlgorithm"]

_FITS = 1e-3  # relative error of the decomposition


class ForwardOperator(Protocol):
    """The part of InverseBench's ``BaseOperator`` that is used here."""

    sigma_noise: float
    device: Any

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the measurements of images [B, C, H, W], without noise."""


class InverseBenchAlgorithm:
    """An algorithm for InverseBench, which it calls an ``Algo``.

    If the operator has a decomposition, guidance is ``nlbp_noisy`` with its ``sigma_noise``, or ``ddnm`` if there is no
    noise. For any other operator that PyTorch can differentiate, guidance must need gradients alone; it is ``dps`` by
    default.

    Two kinds of problems don't fit, because the operator's own ``gradient`` and ``loss`` are never called: operators
    that autograd can't differentiate (full waveform inversion, Navier-Stokes), and losses that are not squared
    distances (black holes).

    Arguments:
        net: A denoiser, see :class:`~spnn.diffusion.edm.EDMPrior`; it is frozen, in place.
        forward_op: The operator.
        guidance: An option of ``conf/guidance``; None chooses as above.
        steps: The sampler's steps.
        seed: Sample i starts from the noise of ``seed + i``.
        values: Other options by their full names, as in :meth:`spnn.Session.draw`. Nothing is clipped unless these
            options turn it on, because not all of InverseBench's images lie in [-1, 1].

    Raises:
        InputError: If the decomposition is not that of ``forward``, or if the guidance needs one and there is none.
    """

    def __init__(
        self,
        net: nn.Module,
        forward_op: ForwardOperator,
        *,
        guidance: str | None = None,
        steps: int = 100,
        seed: int = 0,
        values: Mapping[str, Any] | None = None,
    ):
        self.net, self.forward_op = net, forward_op
        prior = EDMPrior(net)
        linear = all(hasattr(forward_op, part) for part in ("Ut", "S", "M", "V", "Vt"))
        self.operator = (_Decomposed if linear else _Differentiable)(forward_op, prior.image_shape)
        noise = float(forward_op.sigma_noise)
        self.guidance = guidance or (("nlbp_noisy" if noise else "ddnm") if linear else "dps")
        own: dict[str, Any] = {"sampler.clip": False} | ({"guidance.clip": False} if self.guidance != "none" else {})
        if self.guidance == "nlbp_noisy" and noise:
            own["guidance.noise"] = noise
        if torch.device(forward_op.device).type == "cpu":
            own["trainer.accelerator"] = "cpu"
        self.session, self.steps, self.seed = Session(prior, self.operator), steps, seed
        self.values = own | dict(values or {})

    def inference(self, observation: Tensor, num_samples: int = 1, **_: Any) -> Tensor:
        """Draw ``num_samples`` images [N, C, H, W], in the network's units, for one observation [1, ...]."""
        y = self.operator.target(observation)
        options = {"steps": self.steps, "seed": self.seed, "values": self.values}
        drawn = self.session.solve(y, guidance=self.guidance, per_target=num_samples, **options)
        return drawn.images.to(self.forward_op.device)


class _Differentiable(LinearOperator):
    """An unchanged operator, of which only values and gradients are used."""

    def __init__(self, op: ForwardOperator, image_shape: tuple[int, ...]):
        super().__init__(image_shape)
        self.op = op

    def target(self, observation: Tensor) -> Tensor:
        """The value that :meth:`forward` should have, [1, K]."""
        return _flat(observation)

    def forward(self, x: Tensor) -> Tensor:
        # Image by image, because some operators take only one at a time.
        return torch.cat([_flat(self.op.forward(row)) for row in x.to(self.op.device).split(1)]).to(x)

    def pinv(self, y: Tensor) -> Tensor:
        raise InputError(
            f"{type(self.op).__name__} has no singular value decomposition (Ut, S, M, V, Vt), and so no "
            "pseudo-inverse: choose a guidance that takes gradients alone, guidance=dps or gradient."
        )

    def complete(self, x: Tensor) -> Completion:
        return Completion(self(x), [])


class _Decomposed(_Differentiable):
    """The linear part of an operator with a singular value decomposition."""

    def __init__(self, op: Any, image_shape: tuple[int, ...]):
        super().__init__(op, image_shape)
        zero, generator = torch.zeros(1, *image_shape), torch.Generator().manual_seed(0)
        observed = op.forward(zero.to(op.device))
        self.offset, self.like = _flat(observed).cpu(), observed
        x = torch.randn(1, *image_shape, generator=generator)
        found = (op.M * op.Ut(self.unflat(self(x)))).flatten()
        known = (op.M * op.S * op.Vt(x.to(op.device))).flatten()
        self.scale = float(found @ known / (known @ known))
        error = torch.linalg.vector_norm(found - self.scale * known) / torch.linalg.vector_norm(found)
        if not error < _FITS:
            raise InputError(
                f"the decomposition of {type(op).__name__} is not that of its forward: Ut(forward(x)) differs from "
                f"S Vt(x), and all multiples of it, by a share of {error:.2g}."
            )

    def target(self, observation: Tensor) -> Tensor:
        return _flat(observation).cpu() - self.offset

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) - self.offset.to(x)

    def pinv(self, y: Tensor) -> Tensor:
        op: Any = self.op
        seen = op.M * op.Ut(self.unflat(y))
        return (op.V(torch.where(op.M > 0, seen / op.S, 0)) / self.scale).reshape(len(y), *self.image_shape).to(y)

    complete = LinearOperator.complete

    def unflat(self, y: Tensor) -> Tensor:
        """Convert numbers [B, K] to measurements of InverseBench's shape, complex if those are."""
        like, y = self.like, y.to(self.op.device)
        if like.is_complex():
            return torch.view_as_complex(y.to(like.real.dtype).reshape(len(y), *like.shape[1:], 2))
        return y.to(like).reshape(len(y), *like.shape[1:])


def _flat(y: Tensor) -> Tensor:
    """Convert measurements to real numbers in single precision, [B, K]."""
    return (torch.view_as_real(y) if y.is_complex() else y).flatten(1).float()
