r"""Back-projection for noisy measurements: moves towards the target only as far as the noise warrants.

If :math:`y = g(x) + n` with :math:`n \sim N(0, \sigma_y^2 I)`, full back-projection would reproduce the noise. Given
the noisy image, the clean one is approximately distributed as :math:`N(x_0, r_t^2 I)`, so its outputs have the
covariance :math:`V = r_t^2 J J^\top`, with the Jacobian :math:`J` of ``g``, and the expected value

.. math:: y_t = g(x_0) + V (V + \sigma_y^2 I)^{-1} \big(y - g(x_0)\big),

to which the image is then back-projected. For a linear ``g`` this is the posterior's mean,
:math:`x_0 + r_t^2 A^\top (r_t^2 A A^\top + \sigma_y^2 I)^{-1} (y - A x_0)`, because back-projection turns
:math:`A^\dagger A A^\top` into :math:`A^\top`; without noise it is plain back-projection.

References:
    Pseudoinverse-Guided Diffusion Models for Inverse Problems (Song et al., 2023),
    https://openreview.net/forum?id=9_gsMA8MRKQ (the linear case)
"""

from collections.abc import Callable

import torch
from torch import Tensor

from spnn.diffusion.back_projection import BackProjection
from spnn.diffusion.schedule import NoiseSchedule
from spnn.errors import InputError
from spnn.surjection import Completion, Surjection

__all__ = ["NoisyBackProjection", "explained", "left_open"]


class NoisyBackProjection(BackProjection):
    r"""As :class:`BackProjection`, for a target with known noise.

    Each step needs a few products with the Jacobian, forwards and backwards, which takes about ten times as long as a
    step without noise.

    Arguments:
        surjection, target: As in :class:`~spnn.diffusion.TargetGuidance`.
        noise: :math:`\sigma_y`, the standard deviation of the noise on each output.
        deviation: Standard deviation of clean images' pixels in [-1, 1], :math:`s` in :math:`r_t^2`, see
            :func:`left_open`.
        iterations: Maximum number of conjugate-gradient iterations; with as many as there are distinct singular values,
            the result is exact.
        noise_schedule: The prior's schedule; by default DDPM's.
        **options: See :class:`BackProjection`.

    Raises:
        InputError: If a deviation is not positive.
    """

    def __init__(
        self,
        surjection: Surjection,
        target: Tensor,
        *,
        noise: float,
        deviation: float = 0.5,
        iterations: int = 10,
        noise_schedule: NoiseSchedule | None = None,
        **options,
    ):
        if not (noise > 0 and deviation > 0 and iterations >= 1):
            raise InputError(
                "guidance.noise and guidance.deviation must be positive and guidance.iterations at least 1, got "
                f"{noise}, {deviation} and {iterations}. Without noise, choose guidance=nlbp."
            )
        super().__init__(surjection, target, **options)
        if self.exact:
            raise InputError("a target with noise isn't met exactly: set guidance.exact=false.")
        self.noise, self.deviation, self.iterations = noise, deviation, iterations
        self.noise_schedule, self.variance = noise_schedule or NoiseSchedule(), deviation**2

    def __call__(self, x0: Tensor, t: int) -> Tensor:
        alpha = self.noise_schedule.alpha_bar(t)
        self.variance = left_open(self.deviation, alpha**0.5, (1 - alpha) ** 0.5)
        return super().__call__(x0, t)

    def correct(self, x0: Tensor, here: Completion, which: Tensor, strength: float) -> Tensor:
        wanted = self.wanted(here.y, which)
        y, _ = explained(self.surjection, x0, wanted, self.variance, self.noise, self.iterations)
        return self.move(x0, y, strength, completed=here)


def left_open(deviation: float, signal: float, sigma: float) -> float:
    r"""The variance that clean pixels of standard deviation :math:`s` still have, given their noisy values:
    :math:`r_t^2 = \big(s^{-2} + \bar\alpha_t / (1 - \bar\alpha_t)\big)^{-1}`."""
    return 1 / (deviation**-2 + (signal / sigma) ** 2)


def explained(
    surjection: Surjection, x0: Tensor, wanted: Tensor, variance: float, noise: float, iterations: int
) -> tuple[Tensor, Tensor]:
    r"""The part of clean images' distance from noisy targets that is not expected to be noise; see the module's
    docstring.

    Arguments:
        surjection: :math:`g`.
        x0: The clean images, [B, C, H, W].
        wanted: Their targets, [B, ...].
        variance: :math:`r_t^2`.
        noise: :math:`\sigma_y`.
        iterations: Maximum number of conjugate-gradient iterations.

    Returns:
        The expected outputs :math:`y_t`, [B, ...], and the images' expected move, to first order,
        :math:`r_t^2 J^\top (V + \sigma_y^2 I)^{-1} (y - g(x_0))`, [B, C, H, W].
    """
    y, pull = torch.func.vjp(surjection, x0)[:2]

    def spread(v: Tensor) -> Tensor:
        return variance * pull(v)[0]

    def covariance(v: Tensor) -> Tensor:
        return torch.func.jvp(surjection, (x0,), (spread(v),))[1]

    solved = _solve(lambda v: covariance(v) + noise**2 * v, wanted - y, iterations)
    return y + covariance(solved), spread(solved)


def _solve(apply: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """Solve ``apply(x) = b`` by conjugate gradients, separately for each row of the batch."""

    def dot(first: Tensor, second: Tensor) -> Tensor:
        return (first * second).flatten(1).sum(1).reshape(-1, *[1] * (b.ndim - 1))

    x, rest = torch.zeros_like(b), b
    direction, size = rest, dot(rest, rest)
    enough = 1e-12 * size
    for _ in range(iterations):
        if (size <= enough).all():
            break
        image = apply(direction)
        step = torch.where(size > enough, size / dot(direction, image), 0)
        x, rest = x + step * direction, rest - step * image
        before, size = size, dot(rest, rest)
        direction = rest + torch.where(before > 0, size / before, 0) * direction
    return x
