r"""Sampling on the fibre: images with :math:`g(x) = y` exactly, distributed by the prior's density on the fibre.

The completion's latents are coordinates of the fibre :math:`\{x : g(x) = y\}`. If images have the density ``p``, their
latents, given ``y``, have the density

.. math:: \pi(z) \propto p\big(G^{-1}(y, z)\big)\, \big|\det dG^{-1}(y, z)\big|,

and for triangular couplings, the logarithm of the second factor is a sum of log-scales. At the last step of sampling,
when guidance has brought the image to the fibre, a chain of Langevin moves in ``z`` draws from :math:`\pi`, at falling
levels of noise :math:`h = \sigma_t / \sqrt{\bar\alpha_t}`, with the prior's score at each level. No move leaves the
fibre.

Moves are Metropolis-adjusted, although a prior gives no density to look up: along a move, the log-density changes by
the integral of its slope, which Simpson's rule computes from three values. Each image's step size adapts to how many
moves are accepted.

References:
    Generative Modeling by Estimating Gradients of the Data Distribution (Song and Ermon, 2019),
    https://arxiv.org/abs/1907.05600 (Langevin moves at falling noise)
    Optimal Scaling of Discrete Approximations to Langevin Diffusions (Roberts and Rosenthal, 1998) (the best rate of
    acceptance)
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from spnn.diffusion.back_projection import BackProjection
from spnn.diffusion.denoiser import Denoised, Denoiser, Level
from spnn.errors import InputError
from spnn.surjection import Surjection, per_sample

__all__ = ["FibreSampling"]

_ACCEPTED = 0.574  # share of moves accepted at the step size that mixes fastest
_FIRST_STEP = 0.4  # as a share of the noise's deviation

Point = list[Tensor]
"""A point in the completed space: y and the latents, [B, ...] each."""


class FibreSampling(BackProjection):
    r"""Back-projection, followed by a chain on the fibre at the last step.

    A move costs two passes of the prior and two of :math:`G^{-1}` with their gradients.

    Arguments:
        surjection, target: As in :class:`~spnn.diffusion.TargetGuidance`; the surjection must implement
            ``invert_with_log_det``.
        noisiest, cleanest: The chain's first and last level of noise, 999 to 0. With more noise, it moves further away
            from where guidance left the image.
        levels: Number of levels that the chain visits.
        moves: Moves at each level; 0 for no chain.
        **options: See :class:`BackProjection`. Free coordinates move, too.

    Raises:
        InputError: If a number is out of range.
    """

    def __init__(
        self,
        surjection: Surjection,
        target: Tensor,
        *,
        noisiest: int = 60,
        cleanest: int = 5,
        levels: int = 10,
        moves: int = 10,
        **options,
    ):
        if options.get("rule", "nlbp") != "nlbp":
            raise InputError(f"a chain on the fibre needs guidance.rule=nlbp, got {options['rule']!r}.")
        super().__init__(surjection, target, exact=True, **options)
        if not 0 <= cleanest <= noisiest <= 999 or levels < 1 or moves < 0:
            raise InputError(
                "a chain on the fibre needs 0 <= cleanest <= noisiest <= 999, levels of at least 1 and moves of at "
                f"least 0, got {cleanest}, {noisiest}, {levels} and {moves}."
            )
        ratio = ((cleanest + 1) / (noisiest + 1)) ** (1 / max(1, levels - 1))
        self.levels = [round((noisiest + 1) * ratio**i) - 1 for i in range(levels)]
        self.moves = moves

    def guide(self, denoise: Denoiser, x: Tensor, level: Level) -> Denoised:
        """Return the corrected clean images; at the last step, the images that the chain has drawn."""
        mean, noise = denoise(x)
        mean = self(mean, level.t)
        return Denoised(self._drawn(denoise, mean) if level.t == 0 and self.moves else mean, noise)

    def _drawn(self, denoise: Denoiser, x0: Tensor) -> Tensor:
        """Images drawn from the same fibre as the given images."""
        with torch.autocast(x0.device.type, enabled=False):
            y, z = self.surjection.complete(x0.float())
        point = [self.wanted(y, torch.arange(len(x0), device=x0.device)), *z]
        noise = _Normal(denoise.noise, self._along)
        start = denoise.at(self.levels[0]).level
        deviation = start.sigma / start.signal
        point = [c + deviation * n for c, n in zip(point, noise.along(point), strict=True)]
        chain = _Chain(len(x0), _FIRST_STEP * deviation, x0.device)
        for t in self.levels:
            here = denoise.at(t)
            point = chain.moved(point, partial(self._slope, denoise=here), noise, self.moves)
        with torch.autocast(x0.device.type, enabled=False):
            x = self.surjection.invert(point[0], point[1:])
        # Remove the remaining noise, then go back to the fibre.
        return self(here(here.level.signal * x).mean.to(x0.dtype), 0)

    def _slope(self, point: Point, denoise: Denoiser) -> Point:
        """The gradient of the log-density on the fibre, at this level of noise."""
        leaves, level = [c.detach().requires_grad_() for c in point], denoise.level
        with torch.enable_grad(), torch.autocast(point[0].device.type, enabled=False):
            x, log_det = self.surjection.invert_with_log_det(leaves[0], leaves[1:])
        score = -level.signal / level.sigma * denoise(level.signal * x.detach()).noise.float()
        with torch.enable_grad():
            risen = (x * score).sum() + log_det.sum()
        return self._along(torch.autograd.grad(risen, leaves, materialize_grads=True))

    def _along(self, vectors: Sequence[Tensor]) -> Point:
        """The components of vectors in the completed space along which a chain may move."""
        y, *z = vectors
        return [torch.zeros_like(y) if self.free is None else y * self.free, *self.surjection.nearest_latents(z)]


class _Normal:
    """Normal numbers, taken from the images' noise.

    Arguments:
        noise: Gives noise [B, C, H, W].
        project: Projects vectors in the completed space onto the directions in which points may move.
    """

    def __init__(self, noise: Callable[[], Tensor], project: Callable[[Point], Point]):
        self.noise, self.project = noise, project

    def along(self, point: Point) -> Point:
        """Normal directions in which a point may move."""
        return self.project(self.like(point))

    def like(self, tensors: Sequence[Tensor]) -> Point:
        """Normal numbers in the shapes of some tensors, [B, ...] each."""
        sizes = [c[0].numel() for c in tensors]
        numbers = self.noise().flatten(1)
        while numbers.shape[1] < sum(sizes):
            numbers = torch.cat((numbers, self.noise().flatten(1)), dim=1)
        parts = numbers[:, : sum(sizes)].split(sizes, dim=1)
        return [part.reshape(c.shape).to(c) for part, c in zip(parts, tensors, strict=True)]


class _Chain:
    """Metropolis-adjusted Langevin moves, with an adaptive step size for each image.

    Arguments:
        count: Number of images.
        step: The first step size.
        device: The images' device.
    """

    def __init__(self, count: int, step: float, device: torch.device):
        self.log_step, self.made = torch.full((count,), math.log(step), device=device), 0

    def moved(self, point: Point, slope: Callable[[Point], Point], noise: _Normal, moves: int) -> Point:
        """Return the point after some moves; ``slope`` is the gradient of a log-density."""
        here = slope(point)
        for _ in range(moves):
            normal, (chance,) = noise.along(point), noise.like([self.log_step[:, None]])
            step = self.log_step.exp()
            drift = [per_sample(step.square() / 2, s) * s for s in here]
            move = [d + per_sample(step, n) * n for d, n in zip(drift, normal, strict=True)]
            there = [c + m for c, m in zip(point, move, strict=True)]
            middle, end = slope([c + m / 2 for c, m in zip(point, move, strict=True)]), slope(there)
            rise = _dot(move, [(a + 4 * b + c) / 6 for a, b, c in zip(here, middle, end, strict=True)])
            back = [m + per_sample(step.square() / 2, s) * s for m, s in zip(move, end, strict=True)]
            log_ratio = rise + (_dot(normal, normal) - _dot(back, back) / step.square()) / 2
            accepted = torch.special.log_ndtr(chance[:, 0]) < log_ratio
            point, here = (
                [torch.where(accepted.reshape(-1, *(1,) * (b.ndim - 1)), b, a) for a, b in zip(*pair, strict=True)]
                for pair in ((point, there), (here, end))
            )
            self.made += 1
            self.log_step = self.log_step + (log_ratio.exp().clamp(max=1).float() - _ACCEPTED) / self.made**0.5
        return point


def _dot(a: Point, b: Point) -> Tensor:
    """The inner product of each image's vectors, in double precision, [B]."""
    return torch.stack([(x.double() * y.double()).flatten(1).sum(1) for x, y in zip(a, b, strict=True)]).sum(0)
