r"""Guided sampling from a diffusion prior.

From :math:`x_T \sim N(0, I)`, each step ``t -> s`` is

.. math::
    x_0, \varepsilon = \mathrm{guidance}\big(\mathrm{prior}(x_t, t)\big), \qquad
    x_s = \sqrt{\bar\alpha_s}\, x_0 + \sqrt{\max(0, 1 - \bar\alpha_s - \sigma^2)}\,\varepsilon + \sigma n

with :math:`\sigma^2 = 1 - \bar\alpha_t / \bar\alpha_s` as published, or DDIM's
:math:`\sigma^2 = \eta^2 \frac{1-\bar\alpha_s}{1-\bar\alpha_t}(1 - \bar\alpha_t/\bar\alpha_s)`. A step back in time
(``s > t``) only adds noise to :math:`x_0`, and so does each step of a guidance with ``fresh_noise``.

A second-order step replaces :math:`x_0` by the point that it is heading for, :math:`x_0 + \delta` with

.. math::
    \delta = \frac{h}{2 h'} (x_0 - x_0'), \qquad h = \lambda_s - \lambda_t, \quad
    \lambda = \log \big(\sqrt{\bar\alpha} \big/ \sqrt{1 - \bar\alpha}\big),

where :math:`x_0'` and :math:`h'` belong to the previous step, and uses the matching noise
:math:`\varepsilon - \sqrt{\bar\alpha_t / (1 - \bar\alpha_t)}\, \delta`. This is DPM-Solver++ (2M) with
:math:`\eta = 0`, and its SDE form with :math:`\eta = 1`. The step to :math:`s = 0`, which is far longer than the others
in :math:`\lambda`, is first order.

References:
    Pseudo-Invertible Neural Networks (Ehrlich, Berman, Shocher, 2026), https://arxiv.org/abs/2602.06042
    Denoising Diffusion Implicit Models (Song et al., 2021), https://arxiv.org/abs/2010.02502
    DPM-Solver++ (Lu et al., 2022), https://arxiv.org/abs/2211.01095
    SDEdit (Meng et al., 2022), https://arxiv.org/abs/2108.01073 (starting from a given image)
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import dropwhile
from typing import NamedTuple

import torch
from torch import Tensor

from spnn.diffusion.denoiser import Denoised, Denoiser, Level, checked
from spnn.diffusion.guidance import Guidance, guide
from spnn.diffusion.latent import LatentPrior
from spnn.diffusion.schedule import NOISIEST, NoiseSchedule, visited_steps
from spnn.errors import InputError

__all__ = ["ImageNoise", "Sampler", "Step"]

Prior = Callable[[Tensor, Tensor], Denoised | Tensor]


class ImageNoise:
    """Standard normal noise from one generator per image, so that an image does not depend on its batch.

    Arguments:
        seeds: One seed per image; noise is always drawn on the CPU, so that all devices give the same images.
        image_shape: (C, H, W).
        device: The device on which the noise is needed.
    """

    def __init__(self, seeds: Sequence[int], image_shape: Sequence[int], device: torch.device | str = "cpu"):
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self.image_shape, self.device = tuple(image_shape), device

    def __call__(self) -> Tensor:
        """Draw the next noise, [B, C, H, W]."""
        return torch.stack([torch.randn(self.image_shape, generator=g) for g in self.generators]).to(self.device)


class Step(NamedTuple):
    """One step of sampling: its place, its level of noise ``t``, and the corrected clean image ``x0`` [B, C, H, W]."""

    place: int
    t: int
    x0: Tensor


class Sampler:
    r"""Guided ancestral sampling.

    Arguments:
        schedule: The noise schedule that the prior was trained with.
        steps: Number of noise levels to visit.
        eta: None for the published variance, otherwise DDIM's :math:`\eta` (0 is deterministic).
        order: 1, or 2, which needs fewer steps.
        travel_length, travel_repeat: Time travel, see :func:`~spnn.diffusion.schedule.visited_steps`.
        clip: Clip the prior's clean image (not codes) to [-1, 1], and recompute :math:`\varepsilon` to match, before
            guidance.
        start: When starting from a given image (as in SDEdit), the level of noise, 0 to 999, to add to it; the larger,
            the less of the image is kept. None starts from pure noise.

    Raises:
        InputError: If a number is out of range.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        steps: int = 100,
        *,
        eta: float | None = None,
        order: int = 1,
        travel_length: int = 1,
        travel_repeat: int = 1,
        clip: bool = False,
        start: int | None = None,
    ):
        if eta is not None and not 0 <= eta <= 1:
            raise InputError(f"eta must lie in [0, 1] (or be null for the published variance), got {eta}.")
        if order not in (1, 2):
            raise InputError(f"a sampler's order is 1 or 2, got {order!r}.")
        self.schedule, self.eta, self.order, self.clip = schedule, eta, order, clip
        self.visited = visited_steps(steps, schedule.num_steps, travel_length, travel_repeat)
        self.start = start
        if start is not None:
            if not 0 <= start <= NOISIEST:
                raise InputError(f"sampling can't start from step {start}: it must be 0 to {NOISIEST}.")
            self.visited = list(dropwhile(lambda t: self.level(t) > start, self.visited))

    @property
    def num_steps(self) -> int:
        """How often the prior is called, including time travel."""
        return len(self.levels())

    def evenly_spread(self, count: int) -> list[int]:
        """Places of ``count`` steps, evenly spread from the first to the last; all places if there are fewer steps."""
        count = min(count, self.num_steps)
        return [round(place) for place in torch.linspace(0, self.num_steps - 1, count).tolist()]

    def level(self, t: int) -> int:
        """The level of noise of a step of the prior's schedule, 0 (clean) to 999 regardless of the schedule's length.
        These are the steps of DDPM's schedule, in which guidance, its strength and ``start`` count."""
        return self.schedule.level(t)

    def levels(self) -> list[int]:
        """The level of noise of each step, by its place."""
        return [self.level(t) for t, s in zip(self.visited, self.visited[1:], strict=False) if s < t]

    @torch.no_grad()
    def trajectory(
        self,
        prior: Prior,
        noise: Callable[[], Tensor],
        guidance: Guidance | None = None,
        image: Tensor | None = None,
    ) -> Iterator[Step]:
        """Yield every denoising step; the last one's ``x0`` is the sample.

        Arguments:
            prior: ``(x_t [B, C, H, W], t [B]) -> Denoised``; if it returns a tensor, that is taken as the noise.
            noise: Gives standard normal noise [B, C, H, W]: called once for the start, then once per step.
            guidance: See :mod:`spnn.diffusion.guidance`; None samples without guidance.
            image: The clean images to start from, [B, C, H, W], if the sampler has a ``start``.

        For a latent prior, noise and ``x0`` are codes.

        Raises:
            InputError: If there is a ``start`` but no image, or an image but no ``start``.
        """
        if (image is None) != (self.start is None):
            raise InputError("a sampler that has a `start` needs an image to start from, and one without takes none.")
        x, place, before = noise(), 0, None
        x0: Tensor
        if isinstance(prior, LatentPrior):
            guidance = None if guidance is None else prior.on_images(guidance)
            image = None if image is None else prior.encode(image)
        if image is not None:
            alpha = self.schedule.alpha_bar(self.visited[0])
            x = alpha**0.5 * image + (1 - alpha) ** 0.5 * x
        for t, s in zip(self.visited, self.visited[1:], strict=False):
            alpha_s = self.schedule.alpha_bar(s)
            if s > t:  # back in time, from the previous step's x0
                x, before = alpha_s**0.5 * x0 + (1 - alpha_s) ** 0.5 * noise(), None  # noqa: F821
                continue
            alpha_t = self.schedule.alpha_bar(t)
            denoise = self.denoiser(prior, noise, t, s)
            x0, eps = denoise(x) if guidance is None else guide(guidance, denoise, x, denoise.level)
            variance = 1 - alpha_t / alpha_s
            if self.eta is not None:
                variance *= self.eta**2 * (1 - alpha_s) / (1 - alpha_t)
            yield Step(place, denoise.level.t, x0)
            place += 1
            if getattr(guidance, "fresh_noise", False):
                variance = 1 - alpha_s
            elif self.order == 2 and s > 0:
                stride = _log_ratio(alpha_s) - _log_ratio(alpha_t)
                heading = 0 if before is None else stride / (2 * before[1]) * (x0 - before[0])
                before = x0, stride
                x0, eps = x0 + heading, eps - (alpha_t / (1 - alpha_t)) ** 0.5 * heading
            x = alpha_s**0.5 * x0 + max(0.0, 1 - alpha_s - variance) ** 0.5 * eps + variance**0.5 * noise()

    def denoiser(self, prior: Prior, noise: Callable[[], Tensor], t: int, s: int = -1) -> Denoiser:
        """The prior at step ``t`` of its schedule, with ``s`` as the next step."""
        alpha = self.schedule.alpha_bar(t)
        level = Level(self.level(t), alpha**0.5, (1 - alpha) ** 0.5, self.schedule.alpha_bar(s) ** 0.5)

        def at(other: int) -> Denoiser:
            return self.denoiser(prior, noise, self.schedule.step(other))

        return Denoiser(level, partial(self._denoise, prior, level, t), noise, at)

    def _denoise(self, prior: Prior, level: Level, t: int, x: Tensor) -> Denoised:
        found = prior(x, torch.full((len(x),), t, device=x.device))
        if not isinstance(found, Denoised):
            noise = checked(found, x, prior, "a Denoised, or noise")
            found = Denoised.of_noise(x, noise, level.signal, level.sigma)
        if not self.clip or isinstance(prior, LatentPrior):  # codes have no range
            return found
        return Denoised.of_mean(x, found.mean.clamp(-1, 1), level.signal, level.sigma)

    def __call__(
        self,
        prior: Prior,
        noise: Callable[[], Tensor],
        guidance: Guidance | None = None,
        image: Tensor | None = None,
    ) -> Tensor:
        """Return the samples, [B, C, H, W]; arguments are those of :meth:`trajectory`."""
        for step in self.trajectory(prior, noise, guidance, image):
            x0 = step.x0
        return x0


def _log_ratio(alpha_bar: float) -> float:
    """The logarithm of the image's scale over the noise's."""
    return 0.5 * math.log(alpha_bar / (1 - alpha_bar))
