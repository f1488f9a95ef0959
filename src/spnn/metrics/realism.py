"""How far samples are, as a set, from real images: Fréchet and kernel distances between features.

With Inception's features they are FID and KID; its weights are not part of this project and may have to be downloaded.
With the outputs of a run's judge, each divided by its standard deviation among real images, nothing has to be
downloaded, but the numbers are on a different scale and have different names: ``judge_frechet`` and ``judge_kernel``.
Both Fréchet distances are biased upwards for few images: only compare them for the same number of images.

References:
    GANs Trained by a Two Time-Scale Update Rule (Heusel et al., 2017), https://arxiv.org/abs/1706.08500 (FID)
    Demystifying MMD GANs (Bińkowski et al., 2018), https://arxiv.org/abs/1801.01401 (KID)
"""

import warnings

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from spnn.metrics.features import inception
from spnn.settings import working_device

__all__ = ["inception_distances", "judge_distances"]

_SUBSETS = 20

_known = WeakTensorKeyDictionary()


def judge_distances(real: Tensor, sampled: Tensor) -> dict[str, float]:
    """``judge_frechet`` and ``judge_kernel`` between the judge's outputs of images, [N, K], and of samples, [M, K]."""
    mean, deviation = real.mean(0), real.std(0).clamp(min=1e-6)
    frechet, kernel = _distances((real - mean) / deviation, (sampled - mean) / deviation)
    return {"judge_frechet": frechet, "judge_kernel": kernel}


def inception_distances(real: Tensor, sampled: Tensor, *, download: bool = False) -> dict[str, float] | None:
    """``fid`` and ``kid`` between images [N, C, H, W] and samples [M, C, H, W] in [-1, 1]; if the network can't be
    loaded, None, and a line in the log explains why.

    Arguments:
        download: Whether to download weights that are not on disk.
    """
    network = inception(download=download)
    if network is None:
        return None
    frechet, kernel = _distances(*(_features(network, images) for images in (real, sampled)))
    return {"fid": frechet, "kid": kernel}


class _Given(nn.Identity):
    """Replaces a network when features are already computed."""

    num_features: int


def _distances(real: Tensor, sampled: Tensor) -> tuple[float, float]:
    """Fréchet and kernel distance between features, [N, F] and [M, F]."""
    given = _Given()
    given.num_features = real.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it warns that it keeps all features; there are few
        kernel = KernelInceptionDistance(given, subsets=_SUBSETS, subset_size=min(1000, len(real), len(sampled)))
    frechet = FrechetInceptionDistance(given)
    with torch.random.fork_rng(devices=[]):  # subsets are random; this keeps the caller's random state
        torch.manual_seed(0)
        for metric in (frechet, kernel):
            metric.update(real, real=True)
            metric.update(sampled, real=False)
        return frechet.compute().item(), kernel.compute()[0].item()


@torch.no_grad()
def _features(network: nn.Module, images: Tensor, batch_size: int = 32) -> Tensor:
    """The features of images. They are cached while the images exist, because every set of samples is compared with the
    same real images."""
    if images not in _known:
        device, found = working_device(), []
        for some in images.split(batch_size):
            bytes_ = ((some.clamp(-1, 1) + 1) * 127.5).round().byte()
            found.append(network.to(device)(bytes_.expand(-1, 3, -1, -1).to(device)).cpu())
        _known[images] = torch.cat(found)
    return _known[images]
