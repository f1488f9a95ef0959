r"""The noise schedule of DDPM, and the order in which sampling visits its steps.

A noisy image is :math:`x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\,\varepsilon`, with
:math:`\bar\alpha_t = \prod_{i \le t} (1 - \beta_i)` and :math:`\beta` linear. ``t = -1`` stands for the clean image:
:math:`\bar\alpha_{-1} = 1`.

References:
    Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239
    RePaint (Lugmayr et al., 2022), https://arxiv.org/abs/2201.09865 (time travel)
"""

import torch
from torch import Tensor

from spnn.errors import InputError

__all__ = ["BETAS", "NOISIEST", "NoiseSchedule", "visited_steps"]

BETAS = {"linear": 1.0, "scaled_linear": 0.5}
"""The power of the variances that is linear in the step, by diffusers' name: DDPM's and latent diffusion's."""

NOISIEST = 999
"""The noisiest level of noise, as guidance counts levels: the last step of DDPM's schedule."""


class NoiseSchedule:
    """A noise schedule, defined by its variances.

    Arguments:
        num_steps: Length of the schedule that the prior was trained with.
        beta_start, beta_end: First and last variance.
        betas: How the variances go from one to the other, see :data:`BETAS`.

    Raises:
        InputError: If ``betas`` is unknown.
    """

    def __init__(self, num_steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 2e-2, betas: str = "linear"):
        if betas not in BETAS:
            raise InputError(f"betas are one of {', '.join(BETAS)}, not {betas!r}.")
        self.num_steps, power = num_steps, BETAS[betas]
        variances = torch.linspace(beta_start**power, beta_end**power, num_steps, dtype=torch.float64) ** (1 / power)
        self.alphas_cumprod = (1 - variances).cumprod(0)
        # Square roots of ᾱ and 1 − ᾱ, [T, 2], computed in double precision; cached on each device that uses them.
        self.roots = torch.stack((self.alphas_cumprod, 1 - self.alphas_cumprod), dim=1).sqrt().float()
        self._roots: dict[torch.device, Tensor] = {}

    def level(self, t: int) -> int:
        """The level of noise of a step, 0 (clean) to 999 regardless of the schedule's length."""
        return round(t * NOISIEST / max(1, self.num_steps - 1))

    def step(self, level: int) -> int:
        """The step whose level of noise is nearest to ``level``."""
        return round(level * (self.num_steps - 1) / NOISIEST)

    def alpha_bar(self, t: int) -> float:
        r""":math:`\bar\alpha_t`; 1 for ``t = -1``."""
        return 1.0 if t < 0 else self.alphas_cumprod[t].item()

    def add_noise(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return :math:`x_t` for images ``x`` and standard normal ``noise`` [B, C, H, W], and steps ``t`` [B]."""
        signal, sigma = self.signal_and_noise(t, x)
        return signal * x + sigma * noise

    def signal_and_noise(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        r""":math:`\sqrt{\bar\alpha_t}` and :math:`\sqrt{1-\bar\alpha_t}`, [B, 1, 1, 1], in the type of ``x``, on the
        device of ``t``."""
        if t.device not in self._roots:
            self._roots[t.device] = self.roots.to(t.device)
        signal, sigma = self._roots[t.device][t.long()].to(x.dtype)[:, :, None, None, None].unbind(1)
        return signal, sigma


def visited_steps(steps: int, num_steps: int = 1000, travel_length: int = 1, travel_repeat: int = 1) -> list[int]:
    """The steps that sampling visits, from the noisiest to -1, the clean image.

    Without time travel: ``[(steps-1)*num_steps/steps, ..., 0, -1]``. With it, after every ``travel_length`` steps the
    sampler goes back that many, ``travel_repeat - 1`` times, so the list is no longer monotone.

    Arguments:
        steps: Number of noise levels to visit, 1 to ``num_steps``.
        num_steps: Length of the prior's schedule.
        travel_length, travel_repeat: Time travel as in RePaint.

    Raises:
        InputError: If a number is out of range.
    """
    if not 1 <= steps <= num_steps:
        raise InputError(f"sampling steps must be 1 to {num_steps}, got {steps}.")
    if travel_length < 1 or travel_repeat < 1:
        raise InputError(
            f"time travel's length and repeat must be at least 1, got {travel_length} and {travel_repeat}."
        )
    jumps = dict.fromkeys(range(0, steps - travel_length, travel_length), travel_repeat - 1)
    level, levels = steps, []
    while level >= 1:
        level -= 1
        levels.append(level)
        if jumps.get(level, 0) > 0:
            jumps[level] -= 1
            for _ in range(travel_length):
                level += 1
                levels.append(level)
    return [level * num_steps // steps for level in levels] + [-1]
