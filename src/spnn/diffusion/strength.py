r"""How strongly guidance corrects the predicted clean image at each level of noise: :math:`\lambda_t` in [0, 1].

A strength is any callable ``t -> λ`` of a level of noise, 0 (clean) to 999, regardless of the length of the prior's
schedule.
"""

import math
from collections.abc import Callable, Sequence

from spnn.diffusion.schedule import NOISIEST, NoiseSchedule
from spnn.errors import InputError

__all__ = [
    "ConstantStrength",
    "CosineStrength",
    "LinearStrength",
    "NoiseStrength",
    "PiecewiseStrength",
    "SignalStrength",
    "Strength",
]

Strength = Callable[[int], float]


class ConstantStrength:
    r"""The same :math:`\lambda` at every step."""

    def __init__(self, strength: float = 1.0):
        (self.strength,) = _checked(strength)

    def __call__(self, t: int) -> float:
        return self.strength


class PiecewiseStrength:
    r"""Constant between levels of noise.

    Arguments:
        levels: Pairs ``(from_t, strength)``: each strength holds from its own step up to the next pair's.
            ``[(600, 0.5), (0, 1.0)]``, the published choice, is 0.5 for ``t >= 600`` and 1 below;
            ``[(400, 0.0), (0, 1.0)]`` guides only below 400.

    Raises:
        InputError: If no level starts at 0 or a strength is not in [0, 1].
    """

    def __init__(self, levels: Sequence[tuple[int, float]]):
        self.levels = sorted(((int(t), float(strength)) for t, strength in levels), reverse=True)
        if not self.levels or self.levels[-1][0] != 0:
            raise InputError(f"the strength's levels must start at step 0, got {self.levels}.")
        _checked(*(strength for _, strength in self.levels))

    def __call__(self, t: int) -> float:
        return next(strength for start, strength in self.levels if t >= start)


class LinearStrength:
    r"""From ``noisy`` at the noisiest step to ``clean`` at step 0, linear in ``t``.

    Arguments:
        noisy, clean: :math:`\lambda` at both ends.

    Raises:
        InputError: If a strength is not in [0, 1].
    """

    def __init__(self, noisy: float = 0.0, clean: float = 1.0):
        self.noisy, self.clean = _checked(noisy, clean)

    def progress(self, t: int) -> float:
        """How far ``t`` lies towards the clean image, in [0, 1]."""
        return 1 - t / NOISIEST

    def __call__(self, t: int) -> float:
        return self.noisy + (self.clean - self.noisy) * self.progress(t)


class CosineStrength(LinearStrength):
    """As :class:`LinearStrength`, but along half a cosine wave: flat at both ends."""

    def progress(self, t: int) -> float:
        return (1 - math.cos(math.pi * super().progress(t))) / 2


class NoiseStrength:
    r"""Strength by the level of noise: :math:`\lambda_t = \big(1 + (\sigma_t / h)^2\big)^{-1}`.

    :math:`\sigma_t^2 = (1 - \bar\alpha_t) / \bar\alpha_t` is the noise's variance relative to a clean image of unit
    variance. The less can be known about the image, the gentler the correction.

    Arguments:
        half: :math:`h`, the standard deviation of the noise at which :math:`\lambda` is one half.
        noise_schedule: The prior's schedule; by default DDPM's.

    Raises:
        InputError: If ``half`` is not positive.
    """

    def __init__(self, half: float = 1.0, noise_schedule: NoiseSchedule | None = None):
        if not half > 0:
            raise InputError(f"`half` is a deviation of noise and must be positive, got {half}.")
        self.half, self.noise_schedule = half, noise_schedule or NoiseSchedule()

    def __call__(self, t: int) -> float:
        alpha = self.noise_schedule.alpha_bar(self.noise_schedule.step(t))
        return 1 / (1 + (1 - alpha) / alpha / self.half**2)


class SignalStrength:
    r"""Strength by the share of the clean image: :math:`\lambda_t = \sqrt{\bar\alpha_t}`, the rule in FreeDoM's code.

    Arguments:
        noise_schedule: The prior's schedule; by default DDPM's.
    """

    def __init__(self, noise_schedule: NoiseSchedule | None = None):
        self.noise_schedule = noise_schedule or NoiseSchedule()

    def __call__(self, t: int) -> float:
        return self.noise_schedule.alpha_bar(self.noise_schedule.step(t)) ** 0.5


def _checked(*strengths: float) -> tuple[float, ...]:
    if not all(0 <= strength <= 1 for strength in strengths):
        raise InputError(f"strengths must lie in [0, 1], got {', '.join(map(str, strengths))}.")
    return strengths
