r"""UNets as diffusion priors: callables ``(x_t [B, C, H, W], t [B]) -> Denoised`` over images in [-1, 1]."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from torch import Tensor

from spnn.diffusion.ddim_checkpoint import read_ddim_checkpoint
from spnn.diffusion.denoiser import Denoised, ImagePrior
from spnn.diffusion.schedule import BETAS, NoiseSchedule
from spnn.errors import InputError, told
from spnn.networks.pretrained import clear_errors

__all__ = ["UNetPrior", "fitting"]


def fitting(source: object, shape: tuple[int, ...], expected: Sequence[int] | None) -> tuple[int, ...]:
    """The shape of a loaded prior's images; InputError if another is ``expected``."""
    if expected is not None and shape != tuple(expected):
        raise InputError(f"the prior in {source} draws images of shape {shape}, but {tuple(expected)} are needed.")
    return shape


Prediction = Literal["epsilon", "sample", "velocity"]


class UNetPrior(ImagePrior):
    r"""A :class:`diffusers.UNet2DModel` that denoises images.

    Arguments:
        image_shape: (C, H, W).
        patch: The UNet sees the image after a pixel-unshuffle by this factor: ``patch**2`` times fewer positions, so
            for the same widths the work falls by about that factor.
        prediction: What the UNet is trained to give: ``epsilon``, the noise; ``sample``, the clean image; or
            ``velocity``, :math:`\sqrt{\bar\alpha_t}\,\varepsilon - \sqrt{1 - \bar\alpha_t}\,x_0`.
        schedule: The noise schedule; by default DDPM's.
        **unet: Arguments of :class:`diffusers.UNet2DModel` (widths, blocks, attention, ...).

    Raises:
        InputError: If the image can't be cut into patches, or ``prediction`` is unknown.
    """

    pretrained = False
    """Whether the weights came from elsewhere, so that the prior needs no training."""

    keywords_of = UNet2DModel
    """The class that other arguments are passed to; their names are checked against it with the config."""

    def __init__(
        self,
        image_shape: Sequence[int],
        *,
        schedule: NoiseSchedule | None = None,
        patch: int = 1,
        prediction: Prediction = "epsilon",
        **unet: Any,
    ):
        super().__init__()
        channels, height, width = self.image_shape = tuple(image_shape)
        if height % patch or width % patch:
            raise InputError(f"{height}x{width} pixels can't be cut into patches of {patch}x{patch}.")
        if prediction not in ("epsilon", "sample", "velocity"):
            raise InputError(f"a prior predicts 'epsilon', 'sample' or 'velocity', not {prediction!r}.")
        self.patch, self.prediction, self.schedule = patch, prediction, schedule or NoiseSchedule()
        own = {"sample_size": (height // patch, width // patch), "in_channels": channels * patch**2}
        own["out_channels"] = own["in_channels"]
        with told("the prior's UNet can't be made of these options"):
            self.unet = UNet2DModel(**{**unet, **own})
        options = self.unet.config
        kinds = zip(options.block_out_channels, options.down_block_types, strict=True)
        attending = [width for width, kind in kinds if "Attn" in kind]
        attending += options.block_out_channels[-1:] if options.add_attention else []  # the middle block
        if (head := options.attention_head_dim) and any(width % head for width in attending):
            raise InputError(
                f"attention_head_dim={head} must divide the channels of the blocks with attention, of which the middle "
                f"one has the last width: {attending}."
            )

    @classmethod
    def from_pretrained(cls, repository: str | Path, image_shape: Sequence[int] | None = None) -> "UNetPrior":
        """Load a pipeline in diffusers' format: a UNet and its noise schedule.

        Arguments:
            repository: A repository on the hub, such as ``google/ddpm-celebahq-256``, or a folder.
            image_shape: The required (C, H, W), if given.

        Raises:
            InputError: If the pipeline can't be loaded, is not unconditional, has another shape, or has an unsupported
                noise schedule.
        """
        from diffusers import DDPMPipeline  # imported here because only this needs it, and it loads a lot

        with clear_errors(repository):
            pipeline = DDPMPipeline.from_pretrained(repository, low_cpu_mem_usage=False)
        return cls.of_diffusers(pipeline.unet, pipeline.scheduler, repository, image_shape)

    @classmethod
    def of_diffusers(
        cls, unet: UNet2DModel, scheduler: Any, repository: object, image_shape: Sequence[int] | None = None
    ) -> "UNetPrior":
        """Take a UNet with its weights and its noise schedule from diffusers; arguments and errors are those of
        :meth:`from_pretrained`."""
        scheduler = scheduler.config
        predictions: dict[str, Prediction] = {"epsilon": "epsilon", "sample": "sample", "v_prediction": "velocity"}
        prediction = scheduler.get("prediction_type", "epsilon")
        size = unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        problems = {
            "is conditional": unet.config.num_class_embeds is not None or unet.config.class_embed_type is not None,
            "has betas of its own (trained_betas)": scheduler.get("trained_betas") is not None,
            "has betas rescaled to end in noise alone (rescale_betas_zero_snr)": bool(
                scheduler.get("rescale_betas_zero_snr")
            ),
            f"has the noise schedule {scheduler.beta_schedule!r}, not one of {list(BETAS)}": (
                scheduler.beta_schedule not in BETAS
            ),
            f"predicts {prediction!r}, not one of {list(predictions)}": prediction not in predictions,
            "predicts another number of channels than it sees": unet.config.in_channels != unet.config.out_channels,
        }
        if found := [problem for problem, there in problems.items() if there]:
            raise InputError(f"the prior in {repository} {' and '.join(found)}.")
        shape = fitting(repository, (unet.config.in_channels, height, width), image_shape)
        betas = scheduler.beta_start, scheduler.beta_end, scheduler.beta_schedule
        schedule = NoiseSchedule(scheduler.num_train_timesteps, *betas)
        return cls._with_weights(shape, schedule, predictions[prediction], dict(unet.config), unet.state_dict())

    @classmethod
    def from_ddim_checkpoint(
        cls,
        checkpoint: str | Path | Mapping[str, Tensor] | None,
        image_shape: Sequence[int] | None = None,
        image_size: int | None = None,
    ) -> "UNetPrior":
        """Load a UNet from the DDIM code base, such as SDEdit's ``celeba_hq.ckpt``; it predicts the noise.

        Arguments:
            checkpoint: See :func:`~spnn.diffusion.ddim_checkpoint.read_ddim_checkpoint`.
            image_shape: The required (C, H, W), if given.
            image_size: Height and width of the images, which can't be inferred from the tensors; by default those of
                ``image_shape``.

        Raises:
            InputError: If the checkpoint can't be loaded or has another shape.
        """
        if checkpoint is None:
            raise InputError("give the checkpoint's file: `prior.checkpoint=<path>`.")
        arguments, state = read_ddim_checkpoint(checkpoint)
        if image_size is not None:
            size = [image_size, image_size]
        elif image_shape is not None:
            size = [*image_shape[1:]]
        else:
            raise InputError("a checkpoint doesn't show the size of its images: give image_size.")
        shape = fitting(checkpoint, (arguments["in_channels"], *size), image_shape)
        return cls._with_weights(shape, None, "epsilon", arguments, state)

    @classmethod
    def _with_weights(
        cls,
        image_shape: Sequence[int],
        schedule: NoiseSchedule | None,
        prediction: Prediction,
        arguments: dict[str, Any],
        state: dict[str, Tensor],
    ) -> "UNetPrior":
        with clear_errors("the state dict"):
            with torch.device("meta"):  # don't draw weights that are about to be replaced
                prior = cls(image_shape, prediction=prediction, **arguments)
            prior.unet.load_state_dict(state, assign=True)
        prior.schedule = schedule or NoiseSchedule()  # made outside `meta`, because its tensors aren't parameters
        prior.pretrained = True
        return prior.eval()

    def forward(self, x: Tensor, t: Tensor) -> Denoised:
        """Split the noisy images ``x`` at steps ``t`` [B] into clean images and noise."""
        output = self.predict(x, t)
        signal, sigma = self.schedule.signal_and_noise(t, x)
        if self.prediction == "velocity":
            return Denoised(signal * x - sigma * output, signal * output + sigma * x)
        known = Denoised.of_noise if self.prediction == "epsilon" else Denoised.of_mean
        return known(x, output, signal, sigma)

    def predict(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the UNet's raw output, in float32 or better; see :meth:`target`."""
        patches = F.pixel_unshuffle(x, self.patch) if self.patch > 1 else x
        patches = self.unet(patches.contiguous(memory_format=torch.channels_last), t).sample.to(x.dtype)
        return F.pixel_shuffle(patches, self.patch) if self.patch > 1 else patches

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return what :meth:`predict` should give for the clean images ``x0`` and the noise added to them."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return x0
        signal, sigma = self.schedule.signal_and_noise(t, x0)
        return signal * noise - sigma * x0
