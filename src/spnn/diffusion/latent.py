r"""Latent priors: diffusion over the codes of an autoencoder, with guidance on its images.

When guidance moves the decoded clean image from :math:`x` to :math:`x'`, the code moves from :math:`z` to
:math:`z + E(x') - E(x)`. So the autoencoder's loss of detail is not repeated at each step, and an image that guidance
leaves alone keeps its code.

References:
    High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022), https://arxiv.org/abs/2112.10752
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from spnn.diffusion.denoiser import Denoised, ImagePrior
from spnn.diffusion.guidance import Guidance
from spnn.diffusion.prior import UNetPrior, fitting
from spnn.errors import InputError
from spnn.networks.pretrained import clear_errors

__all__ = ["Autoencoder", "Codec", "LatentPrior"]


class Codec(Protocol):
    """A pair of maps between images [B, C, H, W] and codes [B, c, h, w]."""

    def encode(self, x: Tensor) -> Tensor:
        """The codes of images."""

    def decode(self, z: Tensor) -> Tensor:
        """The images of codes."""


class Autoencoder(nn.Module):
    """An autoencoder of diffusers (``AutoencoderKL``, ``VQModel``) as a codec, without sampling."""

    def __init__(self, model: Any):
        super().__init__()
        self.model, self.scale = model, model.config.get("scaling_factor") or 1.0

    def encode(self, x: Tensor) -> Tensor:
        found = self.model.encode(x)
        return self.scale * (found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents)

    def decode(self, z: Tensor) -> Tensor:
        return self.model.decode(z / self.scale).sample


class LatentPrior(ImagePrior):
    """A prior over codes whose samples are images.

    Arguments:
        prior: The prior over codes, ``(z_t, t) -> Denoised``, with ``image_shape`` (the codes') and ``schedule``.
        codec: Converts between images and codes.
        image_shape: (C, H, W) of the images.
    """

    pretrained = True
    trainable = False

    def __init__(self, prior: ImagePrior, codec: Codec, image_shape: Sequence[int]):
        super().__init__()
        self.prior, self.codec, self.image_shape = prior, codec, tuple(image_shape)
        self.noise_shape, self.schedule = tuple(prior.image_shape), prior.schedule

    @classmethod
    def from_pretrained(cls, repository: str | Path, image_shape: Sequence[int] | None = None) -> "LatentPrior":
        """Load a pipeline in diffusers' format: a UNet, its noise schedule, and an autoencoder.

        Arguments:
            repository: A repository on the hub, such as ``CompVis/ldm-celebahq-256``, or a folder.
            image_shape: The required (C, H, W), if given.

        Raises:
            InputError: If the pipeline can't be loaded, or has another shape.
        """
        from diffusers import DiffusionPipeline  # imported here because only this needs it, and it loads a lot

        with clear_errors(repository):
            pipeline = DiffusionPipeline.from_pretrained(repository, low_cpu_mem_usage=False)
        model = getattr(pipeline, "vqvae", None) or getattr(pipeline, "vae", None)
        if model is None:
            raise InputError(f"{repository} has no autoencoder (vae or vqvae): load it as a UNetPrior.")
        prior = UNetPrior.of_diffusers(pipeline.unet, pipeline.scheduler, repository)
        factor = 2 ** (len(model.config.block_out_channels) - 1)
        shape = (model.config.in_channels, *(factor * size for size in prior.image_shape[1:]))
        return cls(prior, Autoencoder(model), fitting(repository, shape, image_shape)).eval()

    def forward(self, z: Tensor, t: Tensor) -> Denoised:
        """Split noisy codes ``z`` [B, c, h, w] at steps ``t`` [B] into clean codes and noise."""
        return self.prior(z, t)

    def encode(self, x: Tensor) -> Tensor:
        """The codes of images [B, C, H, W], in float32: guidance depends on small differences."""
        with torch.autocast(x.device.type, enabled=False):
            return self.codec.encode(x.float())

    def decode(self, z: Tensor) -> Tensor:
        """The images of codes [B, c, h, w], in float32."""
        with torch.autocast(z.device.type, enabled=False):
            return self.codec.decode(z.float())

    def on_images(self, guidance: Guidance) -> Guidance:
        """Turn a guidance of images into one of codes, which applies it to the decoded images.

        Raises:
            InputError: If the guidance needs the noisy image, or a gradient through the prior.
        """
        if hasattr(guidance, "guide"):
            raise InputError(
                "a latent prior gives neither noisy images nor gradients to a guidance that needs them: choose "
                "another, such as nlbp."
            )

        def of_codes(z: Tensor, t: int) -> Tensor:
            image = self.decode(z)
            moved = guidance(image, t)
            return z if moved is image else z + self.encode(moved) - self.encode(image)

        return of_codes
