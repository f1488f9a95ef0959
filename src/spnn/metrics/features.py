"""Feature networks trained by others, if their weights are available: Inception (FID, KID), AlexNet (LPIPS).

Weights are read from the folder where PyTorch keeps downloads; they are only downloaded if that is allowed. If a
network isn't available, the result is None, and one line in the log explains why.
"""

import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

__all__ = ["inception", "perceptual"]

log = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)

_PATIENCE = 20  # seconds without a byte before a download is given up


def inception(*, download: bool = False) -> nn.Module | None:
    """The network for Inception's 2048 features of bytes [B, 3, H, W], with which FID is defined."""
    return _load(
        "FID and KID", "weights-inception-2015-12-05*.pth", lambda: FrechetInceptionDistance(2048).inception, download
    )


def perceptual(*, download: bool = False) -> LearnedPerceptualImagePatchSimilarity | None:
    """LPIPS with AlexNet, for images [B, 3, H, W] in [-1, 1]."""
    return _load("LPIPS", "alexnet-*.pth", lambda: LearnedPerceptualImagePatchSimilarity("alex"), download)


def _load(what: str, weights: str, make: Callable[[], Network], download: bool) -> Network | None:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not download and not any(folder.glob(weights)):
        log.info("no %s: its network's weights (%s) are not in %s; download=true fetches them", what, weights, folder)
        return None
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        return make().eval()
    except (ModuleNotFoundError, OSError, RuntimeError) as error:
        log.info("no %s: its network can't be loaded: %s", what, str(error).partition("\n")[0].strip())
        return None
    finally:
        socket.setdefaulttimeout(patience)
