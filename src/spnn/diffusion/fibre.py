r"""Sampling on the fibre: images with :math:`g(x) = y` exactly, by the prior's density among these.

The completion's latents are coordinates of the fibre :math:`\{x : g(x) = y\}`. Where images have the density ``p``,
their latents, given ``y``, have

.. math:: \pi(z) \propto p\big(G^{-1}(y, z)\big)\, \big|\det dG^{-1}(y, z)\big|,

and the second factor is a sum of log-scales for triangular couplings. At the last step of sampling, where guidance has
brought the image to the fibre, a chain of Langevin moves in ``z`` draws from :math:`\pi`, at falling levels of noise
:math:`h = \sigma_t / \sqrt{\bar\alpha_t}`, with the prior's score there. No move leaves the fibre.

Moves are Metropolis-adjusted, though a prior has no density that could be looked up: along a move, the density changes
by the integral of its slope, for which Simpson's rule takes three values. The step of each image's moves adapts to how
many are accepted.

References:
    Generative Modeling by Estimating Gradients of the Data Distribution (Song and Ermon, 2019),
    https://arxiv.org/abs/1907.05600 (Langevin moves at falling noise)
    Optimal Scaling of Discrete Approximations to Langevin Diffusions (Roberts and Rosenthal, 1998) (how many moves to
    accept)
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

_ACCEPTED = 0.574  # of moves, at the step that mixes fastest
_FIRST_STEP = 0.4  # of the noise's deviation

Point = list[Tensor]
"""A point of the completed space: y and the latents, [B, ...] each."""


class FibreSampling(BackProjection):
    r"""Back-projection, and at the last step a chain on the fibre.

    A move costs two passes of the prior and two of :math:`G^{-1}` with their gradients.

    Arguments:
        surjection, target: As in :class:`~spnn.diffusion.TargetGuidance`; the surjection implements
            ``invert_with_log_det``.
        noisiest, cleanest: The levels of noise, 999 to 0, between which the chain goes. The more noise, the further it
            gets from where guidance left the image.
        levels: How many levels it visits.
        moves: At each of them; 0 for no chain.
        **options: See :class:`BackProjection`. Coordinates that are free move, too.

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
        """Return the corrected clean images; at the last step, those of the chain."""
        mean, noise = denoise(x)
        mean = self(mean, level.t)
        return Denoised(self._drawn(denoise, mean) if level.t == 0 and self.moves else mean, noise)

    def _drawn(self, denoise: Denoiser, x0: Tensor) -> Tensor:
        """Images drawn from the fibre of images that are on it."""
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
        # What is left of the noise goes, and back to the fibre.
        return self(here(here.level.signal * x).mean.to(x0.dtype), 0)

    def _slope(self, point: Point, denoise: Denoiser) -> Point:
        """The gradient of the log-density of the fibre's images, with noise of this level."""
        leaves, level = [c.detach().requires_grad_() for c in point], denoise.level
        with torch.enable_grad(), torch.autocast(point[0].device.type, enabled=False):
            x, log_det = self.surjection.invert_with_log_det(leaves[0], leaves[1:])
        score = -level.signal / level.sigma * denoise(level.signal * x.detach()).noise.float()
        with torch.enable_grad():
            risen = (x * score).sum() + log_det.sum()
        return self._along(torch.autograd.grad(risen, leaves, materialize_grads=True))

    def _along(self, vectors: Sequence[Tensor]) -> Point:
        """The parts of vectors of the completed space along which a chain may move."""
        y, *z = vectors
        return [torch.zeros_like(y) if self.free is None else y * self.free, *self.surjection.nearest_latents(z)]


class _Normal:
    """Normal numbers from images' noise.

    Arguments:
        noise: Gives [B, C, H, W].
        project: Takes the part of vectors of the completed space along which points may move.
    """

    def __init__(self, noise: Callable[[], Tensor], project: Callable[[Point], Point]):
        self.noise, self.project = noise, project

    def along(self, point: Point) -> Point:
        """Normal directions in which a point may move."""
        return self.project(self.like(point))

    def like(self, tensors: Sequence[Tensor]) -> Point:
        """As many numbers as there are, [B, ...] each."""
        sizes = [c[0].numel() for c in tensors]
        numbers = self.noise().flatten(1)
        while numbers.shape[1] < sum(sizes):
            numbers = torch.cat((numbers, self.noise().flatten(1)), dim=1)
        parts = numbers[:, : sum(sizes)].split(sizes, dim=1)
        return [part.reshape(c.shape).to(c) for part, c in zip(parts, tensors, strict=True)]


class _Chain:
    """Metropolis-adjusted Langevin moves, with a step of its own for each image, which adapts.

    Arguments:
        count: Images.
        step: The first step.
        device: Theirs.
    """

    def __init__(self, count: int, step: float, device: torch.device):
        self.log_step, self.made = torch.full((count,), math.log(step), device=device), 0

    def moved(self, point: Point, slope: Callable[[Point], Point], noise: _Normal, moves: int) -> Point:
        """The point after some moves; ``slope`` is the gradient of a log-density."""
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
    """The inner product of each image's, in double precision, [B]."""
    return torch.stack([(x.double() * y.double()).flatten(1).sum(1) for x, y in zip(a, b, strict=True)]).sum(0)
