r"""An analytic prior: a mixture of Gaussians, whose denoiser has a closed form.

For :math:`x_0 \sim \sum_k w_k N(\mu_k, \Sigma_k)` and :math:`x_t = a x_0 + \sigma \varepsilon`,

.. math::
    E[x_0 | x_t] = \sum_k p(k | x_t)\,\big(\mu_k + a \Sigma_k (a^2 \Sigma_k + \sigma^2)^{-1} (x_t - a \mu_k)\big),
    \qquad p(k | x_t) \propto w_k N(x_t; a \mu_k, a^2 \Sigma_k + \sigma^2).

Each covariance is held by some principal axes and one variance for all other directions, so a component costs one pass
through its axes (a mixture of probabilistic principal component analysers).

References:
    Mixtures of Probabilistic Principal Component Analysers (Tipping and Bishop, 1999)
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.utils.data import Dataset

from spnn.diffusion.denoiser import Denoised
from spnn.diffusion.schedule import NoiseSchedule
from spnn.errors import InputError

__all__ = ["GaussianMixturePrior"]


class GaussianMixturePrior(nn.Module):
    """A diffusion prior, ``(x_t, t) -> Denoised``, that is a mixture of Gaussians.

    Arguments:
        weights: [K], adding up to 1.
        means: [K, C, H, W].
        axes: The principal axes of each covariance, orthonormal columns, [K, D, R] with D = C H W.
        variances: The variances along them, [K, R].
        rest: The variance in all other directions, [K].
        schedule: The noise schedule; by default DDPM's.

    Raises:
        InputError: If shapes don't fit each other, weights don't add up to 1, or a variance is negative.

    Example:
        >>> import torch
        >>> from spnn.diffusion import GaussianMixturePrior
        >>> prior = GaussianMixturePrior.isotropic(torch.zeros(1, 1, 2, 2), deviation=0.5)
        >>> prior(torch.ones(3, 1, 2, 2), torch.tensor([0, 500, 999])).mean.shape
        torch.Size([3, 1, 2, 2])
    """

    pretrained = True
    trainable = False

    def __init__(
        self,
        weights: Tensor,
        means: Tensor,
        axes: Tensor,
        variances: Tensor,
        rest: Tensor,
        schedule: NoiseSchedule | None = None,
    ):
        super().__init__()
        self.image_shape = tuple(means.shape[1:])
        count, dimension, rank = len(means), means[0].numel(), variances.shape[-1]
        parts = {"weights": weights, "axes": axes, "variances": variances, "rest": rest}
        expected = [(count,), (count, dimension, rank), (count, rank), (count,)]
        if (shapes := [tuple(tensor.shape) for tensor in parts.values()]) != expected:
            raise InputError(
                f"for {count} means of {self.image_shape} pixels, {', '.join(parts)} must have the shapes {expected}, "
                f"got {shapes}."
            )
        if not (weights >= 0).all() or not torch.isclose(weights.sum(), weights.new_tensor(1.0), atol=1e-3):
            raise InputError(f"weights must be at least 0 and add up to 1, got {weights.tolist()}.")
        if not means.isfinite().all() or not (variances >= 0).all() or not (rest >= 0).all():
            raise InputError("means must be finite, and variances at least 0.")
        self.schedule = schedule or NoiseSchedule()
        for name, tensor in (parts | {"means": means.flatten(1)}).items():
            self.register_buffer(name, tensor)

    @classmethod
    def isotropic(
        cls, means: Tensor, deviation: float, weights: Tensor | None = None, **options: Any
    ) -> "GaussianMixturePrior":
        """Round components of one standard deviation around the means, [K, C, H, W]; equally likely by default."""
        if means.ndim != 4 or not deviation > 0:
            raise InputError(
                f"expected means [K, C, H, W] and a deviation > 0, got {list(means.shape)} and {deviation}."
            )
        count, dimension = len(means), means[0].numel()
        return cls(
            means.new_full((count,), 1 / count) if weights is None else weights,
            means,
            means.new_zeros(count, dimension, 0),
            means.new_zeros(count, 0),
            means.new_full((count,), deviation**2),
            **options,
        )

    @classmethod
    def fit(
        cls,
        source: Any,
        image_shape: Sequence[int] | None = None,
        *,
        components: int = 10,
        rank: int = 32,
        images: int = 5000,
        schedule: NoiseSchedule | None = None,
    ) -> "GaussianMixturePrior":
        """Fit a mixture to training images: clusters of them by k-means, the principal components of each.

        Arguments:
            source: A :class:`~spnn.data.Source`.
            image_shape: Accepted, since every prior is built with it; it is the source's.
            components: K, at most.
            rank: Principal axes of each component, at most; a small cluster has half as many as images, so that there
                is something left for the rest.
            images: How many training images to look at.
            schedule: The noise schedule; by default DDPM's.
        """
        dataset: Dataset = source.split("train")
        pixels = [dataset[index]["image"] for index in range(min(images, len(dataset)))]
        x = torch.stack(pixels).flatten(1).double() / 127.5 - 1
        labels = KMeans(min(components, len(x)), n_init=1, random_state=0).fit_predict(x.numpy())
        clusters = [x[torch.from_numpy(labels == k)] for k in range(labels.max() + 1)]
        clusters = [cluster for cluster in clusters if len(cluster) > 1]
        rank = min(rank, x.shape[1] - 1, (max(map(len, clusters)) - 1) // 2)
        parts = []
        for cluster in clusters:
            mean = cluster.mean(0)
            _, values, axes = torch.linalg.svd((cluster - mean) / math.sqrt(len(cluster)), full_matrices=False)
            variances, own = values.square(), min(rank, (len(cluster) - 1) // 2)
            rest = variances[own:].sum() / (x.shape[1] - own)
            padded = torch.zeros(x.shape[1], rank, dtype=x.dtype), rest.repeat(rank)  # no axes, of the rest's variance
            padded[0][:, :own], padded[1][:own] = axes[:own].T, variances[:own]
            parts.append((mean.unflatten(0, source.image_shape), *padded, rest))
        sizes = torch.tensor([len(cluster) for cluster in clusters], dtype=x.dtype)
        tensors = [torch.stack(part).float() for part in zip(*parts, strict=True)]
        return cls((sizes / sizes.sum()).float(), *tensors, schedule=schedule)

    def forward(self, x: Tensor, t: Tensor) -> Denoised:
        """Take ``x`` [B, C, H, W] apart, the images at steps ``t`` [B]."""
        scales = self.schedule.signal_and_noise(t, x)
        with torch.autocast(x.device.type, enabled=False):
            a, sigma = (scale.flatten(1)[:, None] for scale in scales)  # [B, 1, 1]
            offset = x.flatten(1)[:, None] - a * self.means  # [B, K, D]
            along = torch.einsum("bkd,kdr->bkr", offset, self.axes)
            spread = a**2 * self.variances + sigma**2  # [B, K, R], of x_t
            spread_rest = a**2 * self.rest[:, None] + sigma**2  # [B, K, 1]
            others = offset.shape[-1] - along.shape[-1]
            off_axes = (offset.square().sum(-1) - along.square().sum(-1)).clamp(min=0)
            log_density = -0.5 * (
                (along.square() / spread + spread.log()).sum(-1)
                + off_axes / spread_rest[..., 0]
                + others * spread_rest[..., 0].log()
            )
            share = (self.weights.log() + log_density).softmax(-1)[..., None]  # [B, K, 1]
            gain, gain_rest = a * self.variances / spread, a * self.rest[:, None] / spread_rest
            along = torch.einsum("bkr,kdr->bkd", share * (gain - gain_rest) * along, self.axes)
            x0 = (share * (self.means + gain_rest * offset) + along).sum(1)
        return Denoised.of_mean(x, x0.unflatten(1, self.image_shape), *scales)
