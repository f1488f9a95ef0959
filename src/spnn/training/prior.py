"""Train a diffusion prior: predict the noise in a noisy image (or the image, or the velocity)."""

import torch
from torch import Tensor

from spnn.diffusion.prior import UNetPrior
from spnn.training.stage import Stage

__all__ = ["PriorStage"]


class PriorStage(Stage):
    """The stage that trains the prior; Lightning's EMA callback, which the stage's config adds, averages the weights.

    Arguments:
        prior: The network to train.
        snr_range: The squared error of the clean image is weighted by the signal-to-noise ratio, clamped to this range
            (min-SNR weighting, Hang et al. 2023, https://arxiv.org/abs/2303.09556, is [0, 5]); None for the plain
            squared error of the prediction.
        **options: ``optimizer`` and ``scheduler``, see :class:`~spnn.training.stage.Stage`.
    """

    trains = "prior"

    def __init__(self, prior: UNetPrior, *, snr_range: tuple[float, float] | None = None, **options):
        super().__init__(**options)
        self.prior, self.snr_range = prior, snr_range

    def loss(self, image: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Mean squared error of the prediction, weighted according to ``snr_range``."""
        prediction = self.prior.predict(self.prior.schedule.add_noise(image, noise, t), t)
        error = (prediction - self.prior.target(image, noise, t)).square().flatten(1).mean(1)
        if self.snr_range is not None:
            signal, sigma = (a.flatten() for a in self.prior.schedule.signal_and_noise(t, image))
            snr = (signal / sigma) ** 2
            # The noise's squared error is snr times the clean image's, the velocity's snr + 1 times.
            ratio = {"epsilon": snr, "sample": torch.ones_like(snr), "velocity": snr + 1}[self.prior.prediction]
            error = error * snr.clamp(*self.snr_range) / ratio
        return error.mean()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        image = batch["image"]
        t = torch.randint(self.prior.schedule.num_steps, (len(image),), device=image.device)
        loss = self.loss(image, torch.randn_like(image), t)
        self.log_losses("train", {"loss": loss}, len(image))
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log_losses("val", {"loss": self._fixed_loss(batch["image"], batch_idx)}, len(batch["image"]))

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        with torch.autocast(self.device.type, enabled=False):  # the reported figures are in full precision
            self.log_losses("test", {"loss": self._fixed_loss(batch["image"], batch_idx)}, len(batch["image"]))

    def _fixed_loss(self, image: Tensor, seed: int) -> Tensor:
        # Use the same noise at each validation, at levels over the whole range, so that the curve itself is not noisy.
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(image.shape, generator=generator).to(image)
        t = torch.linspace(0, self.prior.schedule.num_steps - 1, len(image)).long().to(image.device)
        return self.loss(image, noise, t)
