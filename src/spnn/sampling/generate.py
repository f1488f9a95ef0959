"""Sample images for a list of targets, in batches that don't show in the result."""

from collections.abc import Callable, Sequence

import torch
from rich.progress import track
from torch import Tensor, nn

from spnn.diffusion.guidance import Guidance
from spnn.diffusion.prior import UNetPrior
from spnn.diffusion.sampler import ImageNoise, Sampler
from spnn.surjection import Surjection

__all__ = ["fastest_device", "generate", "logits_of"]


def fastest_device() -> torch.device:
    """The current accelerator, or the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


@torch.no_grad()
def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Return the network's logits of images, [N, C, H, W] -> [N, K] on the CPU; it is moved to the fastest device."""
    device = fastest_device()
    return network.to(device)(images.to(device)).cpu()


def generate(
    prior: UNetPrior,
    surjection: Surjection,
    guidance: Callable[[Surjection, Tensor], Guidance | None],
    sampler: Sampler,
    targets: Tensor,
    seeds: Sequence[int],
    *,
    batch_size: int,
    precision: str = "32-true",
    title: str = "sampling",
) -> Tensor:
    """Return one image per target, [N, C, H, W] on the CPU.

    Arguments:
        prior, surjection: Models, moved to the fastest device.
        guidance: Makes the guidance for a batch of targets.
        sampler: The sampler.
        targets: Logits, [N, K].
        seeds: One per image; an image is a function of its seed and target alone, whatever the batch.
        batch_size: Images at a time.
        precision: ``bf16-mixed`` runs the prior (never the guidance) in bfloat16 where that pays.
        title: Of the progress bar.
    """
    device = fastest_device()
    prior, surjection = prior.to(device), surjection.to(device)

    def predict_noise(x: Tensor, t: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision.startswith("bf16")):
            return prior(x, t)

    starts = range(0, len(targets), batch_size)
    images = []
    with torch.no_grad():
        steps = (
            step
            for a in starts
            for step in sampler.trajectory(
                predict_noise,
                ImageNoise(seeds[a : a + batch_size], prior.image_shape, device),
                guidance(surjection, targets[a : a + batch_size].to(device)),
            )
        )
        for step in track(steps, title, total=len(starts) * sampler.num_steps):
            if step.place == sampler.num_steps - 1:
                images.append(step.x0.cpu())
    return torch.cat(images)
