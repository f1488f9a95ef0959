"""Your own parts (an operator, a prior, a guidance, a task); configs refer to them as `examples.own.parts.<name>`."""

from collections.abc import Callable, Sequence

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from spnn import Bijection, Composition, Surjection
from spnn.diffusion import Denoised, Denoiser, Level, NoiseSchedule, TargetGuidance
from spnn.operators import AveragePool
from spnn.sampling.images import held_out
from spnn.sampling.models import Models
from spnn.sampling.tasks import Problem
from spnn.surjection import Completion


class SoftSensor(Bijection):
    r"""A sensor that separates extreme tones less well: :math:`x \mapsto \mathrm{asinh}(k x) / k` for each pixel."""

    def __init__(self, k: float):
        super().__init__()
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        return torch.asinh(self.k * x) / self.k

    def inverse(self, y: Tensor) -> Tensor:
        return torch.sinh(self.k * y) / self.k


def soft_camera(image_shape: Sequence[int], k: float, factor: int) -> Surjection:
    """A camera with such a sensor and few pixels; its pseudo-inverse and back-projection follow from its two parts."""
    return Composition(SoftSensor(k), AveragePool(factor, image_shape))


class WhiteNoise(nn.Module):
    r"""A prior that knows nothing: pixels are independent and :math:`N(0, 1)`, so the expected noise in :math:`x_t` is
    :math:`\sqrt{1 - \bar\alpha_t}\, x_t`. Any network could take its place."""

    pretrained = True  # there is nothing to train
    trainable = False

    def __init__(self, image_shape: Sequence[int], schedule: NoiseSchedule):
        super().__init__()
        self.image_shape, self.schedule = tuple(image_shape), schedule

    def forward(self, x: Tensor, t: Tensor) -> Denoised:
        signal, sigma = self.schedule.signal_and_noise(t, x)
        return Denoised.of_noise(x, sigma * x, signal, sigma)


class SignGradient(TargetGuidance):
    """Move all pixels by the same amount, in the direction that brings the outputs nearer to their targets."""

    def __init__(self, operator: Surjection, target: Tensor, *, rate: float, **options):
        super().__init__(operator, target, **options)
        self.rate = rate

    def correct(self, x0: Tensor, here: Completion, which: Tensor, strength: float) -> Tensor:
        with torch.enable_grad():
            x = x0.detach().requires_grad_()
            distance = (self.surjection(x) - self.wanted(here.y, which)).square().sum()
            (gradient,) = torch.autograd.grad(distance, x)
        return x0 - strength * self.rate * gradient.sign()


class Push(TargetGuidance):
    """Move each image by a fixed length towards its target, along the gradient, through the prior, of the distance
    between the clean image's outputs and the target."""

    def __init__(self, operator: Surjection, target: Tensor, *, length: float, **options):
        super().__init__(operator, target, **options)
        self.length = length

    def guide(self, denoise: Denoiser, x: Tensor, level: Level) -> Denoised:
        found, pull = denoise.vjp(x)
        every = torch.arange(len(x), device=x.device)
        gradient = pull(self.gradient(found.mean, every), every)
        rms = gradient.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)
        return found._replace(mean=found.mean - self.schedule(level.t) * self.length * gradient / rms)


def between(config: DictConfig, models: Models, outputs: Callable[[Tensor], Tensor], images: Tensor | None) -> Problem:
    """A task: images whose outputs lie between those of two held-out images."""
    count, share = config.count or 8, config.between.share
    names, images = held_out(models.run.source, config.first, 2 * count)
    first, second = images[:count], images[count:]
    y = (1 - share) * outputs(first) + share * outputs(second)
    return Problem(names[:count], y, rows={"first": first, "second": second}, labels=["between"])
