r"""An analytic prior: a mixture of Gaussians, which has a denoiser in closed form.

For :math:`x_0 \sim \sum_k w_k N(\mu_k, \Sigma_k)` and :math:`x_t = a x_0 + \sigma \varepsilon`,

.. math::
    E[x_0 | x_t] = \sum_k p(k | x_t)\,\big(\mu_k + a \Sigma_k (a^2 \Sigma_k + \sigma^2)^{-1} (x_t - a \mu_k)\big),
    \qquad p(k | x_t) \propto w_k N(x_t; a \mu_k, a^2 \Sigma_k + \sigma^2).

Each covariance is stored as some principal axes and one variance for all other directions, so a component costs one
pass through its axes (a mixture of probabilistic principal component analysers).

References:
    Mixtures of Probabilistic Principal Component Analysers (Tipping and Bishop, 1999)
"""

import math
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from spnn.diffusion.denoiser import Denoised, ImagePrior
from spnn.diffusion.schedule import NoiseSchedule
from spnn.errors import InputError

__all__ = ["GaussianMixturePrior"]

_COARSE = 32  # height and width in pixels of the images used to find clusters
_WINDOW = 64  # images at a time,
_NUMBERS = 4_000_000  # or values at a time
_ROUNDING = 1e-10  # share of the largest variance; smaller variances have no meaningful direction


class GaussianMixturePrior(ImagePrior):
    """A mixture of Gaussians as a diffusion prior, ``(x_t, t) -> Denoised``.

    Arguments:
        weights: [K], adding up to 1.
        means: [K, C, H, W].
        axes: The principal axes of each covariance, orthonormal columns, [K, D, R] with D = C H W.
        variances: The variances along them, [K, R].
        rest: The variance in all other directions, [K].
        schedule: The noise schedule; by default DDPM's.

    Raises:
        InputError: If the shapes don't match, the weights don't add up to 1, or a variance is negative.

    Examples:
        >>> import torch
        >>> from spnn.diffusion import GaussianMixturePrior
        >>> prior = GaussianMixturePrior.isotropic(torch.zeros(1, 1, 2, 2), deviation=0.5)
        >>> prior(torch.ones(3, 1, 2, 2), torch.tensor([0, 500, 999])).mean.shape
        torch.Size([3, 1, 2, 2])
    """

    weights: Tensor
    means: Tensor
    axes: Tensor
    variances: Tensor
    rest: Tensor

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
        """Isotropic components with one standard deviation around the means, [K, C, H, W]; equally likely by
        default."""
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
        """Fit a mixture to training images: find clusters by k-means, then the principal components of each cluster.

        Arguments:
            source: A :class:`~spnn.data.Source`.
            image_shape: Ignored; accepted because every prior is built with it. The source's shape is used.
            components: Maximum K.
            rank: Maximum number of principal axes of a component; a small cluster gets only half as many axes as it has
                images, so that some variance is left for the other directions.
            images: Number of training images to use.
            schedule: The noise schedule; by default DDPM's.
        """
        dataset = source.split("train")
        x = torch.empty(min(images, len(dataset)), *source.image_shape, dtype=torch.uint8)
        for index, row in enumerate(x):
            row.copy_(dataset[index]["image"])
        # Clusters of large images can be found from small ones, because they differ in coarse features.
        height, width = (min(side, _COARSE) for side in source.image_shape[1:])
        windows = x.split(_WINDOW)
        coarse = torch.cat([F.adaptive_avg_pool2d(_scaled(some), (height, width)) for some in windows]).flatten(1)
        labels = KMeans(min(components, len(x)), n_init=1, random_state=0).fit_predict(coarse.numpy())
        sizes = np.bincount(labels)
        clusters = [k for k, size in enumerate(sizes) if size > 1]
        dimension = x[0].numel()
        rank = min(rank, dimension - 1, (int(sizes.max()) - 1) // 2)
        parts = []
        for k in clusters:
            own = min(rank, (int(sizes[k]) - 1) // 2)
            mean, axes, variances, total = _principal(x[torch.from_numpy(labels == k)].flatten(1), own)
            own = len(variances)
            rest = (total - variances.sum()).clamp(min=0) / (dimension - own)
            padded = torch.zeros(dimension, rank), rest.float().repeat(rank)  # zero axes, with the rest's variance
            padded[0][:, :own], padded[1][:own] = axes, variances
            parts.append((mean.unflatten(0, source.image_shape).float(), *padded, rest.float()))
        weights = torch.from_numpy(sizes[clusters] / sizes[clusters].sum()).float()
        means, axes, variances, rests = (torch.stack(part) for part in zip(*parts, strict=True))
        return cls(weights, means, axes, variances, rests, schedule=schedule)

    def forward(self, x: Tensor, t: Tensor) -> Denoised:
        """Split the noisy images ``x`` [B, C, H, W] at steps ``t`` [B] into clean images and noise."""
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


def _scaled(pixels: Tensor) -> Tensor:
    return pixels.double() / 127.5 - 1


def _principal(pixels: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From images uint8 [N, D], return their mean, [D]; the principal axes along which they vary, R or fewer, [D, R];
    the variances along these axes, [R]; and the total variance. The images are scaled a few columns at a time, because
    in double precision they take eight times the memory of their bytes."""
    columns = [_scaled(some).mean(0) for some in pixels.split(max(1, _NUMBERS // len(pixels)), dim=1)]
    mean = torch.cat(columns)

    def centred() -> Iterator[Tensor]:
        for some, its_mean in zip(pixels.split(len(columns[0]), dim=1), columns, strict=True):
            yield (_scaled(some) - its_mean) / math.sqrt(len(pixels))

    if len(pixels) > pixels.shape[1]:
        _, deviations, axes = torch.linalg.svd(torch.cat(list(centred()), dim=1), full_matrices=False)
        return mean, axes[:most].T, deviations[:most].square(), deviations.square().sum()
    # [N, N]; its eigenvectors give those of the covariance.
    products = reduce(torch.add, (some @ some.T for some in centred()))
    values, vectors = torch.linalg.eigh(products)
    values, vectors = values.flip(0)[:most], vectors.flip(1)[:, :most]
    there = values > _ROUNDING * values[:1]
    values, vectors = values[there], vectors[:, there] / values[there].sqrt()
    return mean, torch.cat([some.T @ vectors for some in centred()]), values, products.trace()
