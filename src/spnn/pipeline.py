"""A run, or a diffusers pipeline with an operator, behind the interface of diffusers' pipelines.

::

    pipe = NLBPPipeline.from_pretrained("faces").to("cuda")
    pipe(images, set={"Smiling": "yes"}, num_inference_steps=50, generator=0).images[0]
    NLBPPipeline.from_diffusers(DDPMPipeline.from_pretrained(repository), operator)(y=y).images
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import DDPMPipeline, ImagePipelineOutput
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor, nn

from spnn.diffusion.prior import UNetPrior
from spnn.errors import InputError
from spnn.readout import Readout
from spnn.session import Session
from spnn.surjection import Surjection

__all__ = ["NLBPOutput", "NLBPPipeline"]

Images = Image.Image | np.ndarray | Tensor | list[Image.Image] | list[np.ndarray] | list[Tensor]

_PRECISION = {torch.float32: "32-true", torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}


@dataclass
class NLBPOutput(ImagePipelineOutput):
    """The output of diffusers' pipelines, with metrics.

    Attributes:
        images: A list of PIL images, an array [N, H, W, C] or a tensor [N, C, H, W], in [0, 1].
        metrics: The metrics of :class:`spnn.sampling.drawn.Drawn`: agreement, wholeness.
    """

    metrics: dict[str, float] = field(default_factory=dict)


class NLBPPipeline:
    """A :class:`~spnn.Session` that is called like diffusers' pipelines; it draws the same pixels as the session.

    The following are the same as in diffusers: ``from_pretrained``, ``save_pretrained``, ``push_to_hub``, ``to``, the
    arguments of a call, and its result. The differences: it is not a ``DiffusionPipeline``, whose registry of
    components has no place for a surjection, so ``DiffusionPipeline.from_pretrained`` can't load its folders, there is
    no offloading, and the session reports progress; it computes on the fastest device unless :meth:`to` names another;
    a type sets the precision of the prior only, because guidance is always computed in float32; and a callback sees a
    step, but can't change it.

    Arguments:
        session: The models.
    """

    def __init__(self, session: Session):
        self.session = session
        self.values: dict[str, Any] = {}
        channels = session.models.prior.image_shape[0]
        self.image_processor = VaeImageProcessor(
            vae_scale_factor=1,
            vae_latent_channels=0,  # otherwise it would pass on images with that many channels unchanged
            do_normalize=False,
            do_convert_rgb=channels == 3,
            do_convert_grayscale=channels == 1,
        )

    @classmethod
    def from_pretrained(
        cls, folder_or_repository: str | Path, *choices: str, torch_dtype: torch.dtype | None = None, **options: Any
    ) -> "NLBPPipeline":
        """Load the models of a packed run; arguments and errors as in :meth:`spnn.Session.from_pretrained`, and a type
        as in :meth:`to`."""
        pipe = cls(Session.from_pretrained(folder_or_repository, *choices, **options))
        return pipe if torch_dtype is None else pipe.to(torch_dtype)

    @classmethod
    def from_diffusers(
        cls,
        pipeline: DDPMPipeline,
        operator: Surjection | None = None,
        judge: nn.Module | None = None,
        *,
        readout: Readout | list[str] | None = None,
    ) -> "NLBPPipeline":
        """Combine a pipeline's UNet and noise schedule with an operator; the pipeline stays unchanged.

        Arguments:
            pipeline: A pipeline; for your own UNet and scheduler, ``DDPMPipeline(unet, scheduler)``.
            operator, judge, readout: As in :class:`~spnn.Session`.

        Raises:
            InputError: If the UNet is conditional, the schedule is unknown, or the models don't fit each other.
        """
        if not hasattr(pipeline, "unet") or not hasattr(pipeline, "scheduler"):
            raise InputError(f"expected a pipeline with a unet and a scheduler, got {type(pipeline).__name__}.")
        prior = UNetPrior.of_diffusers(pipeline.unet, pipeline.scheduler, type(pipeline).__name__).float()
        return cls(Session(prior, operator, judge, readout=readout))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder with a model card; both :meth:`from_pretrained` and a session can load it, see
        :meth:`spnn.Session.save_pretrained`."""
        self.session.save_pretrained(folder)

    def push_to_hub(self, repository: str, *, private: bool = False, token: str | None = None) -> str:
        """Publish that folder, see :meth:`spnn.Session.push_to_hub`."""
        return self.session.push_to_hub(repository, private=private, token=token)

    def to(self, *where: str | torch.device | torch.dtype) -> "NLBPPipeline":
        """From now on, compute on a device, or compute the prior in a type: float32, bfloat16 or float16.

        Raises:
            InputError: If the type is another one, or the device is not the first of its kind.
        """
        for one in where:
            if isinstance(one, torch.dtype):
                if one not in _PRECISION:
                    raise InputError(f"the prior computes in {', '.join(map(str, _PRECISION))}, not in {one}.")
                self.values["trainer.precision"] = _PRECISION[one]
                continue
            device = torch.device(one)
            if device.index:
                raise InputError(
                    f"a pipeline takes the first device of a kind, not {device}: hide the others by an environment "
                    "variable, such as CUDA_VISIBLE_DEVICES."
                )
            self.values["trainer.accelerator"] = device.type
        return self

    def __call__(
        self,
        images: Images | None = None,
        set: Mapping[str, Any] | None = None,
        *,
        y: Tensor | None = None,
        batch_size: int = 1,
        num_inference_steps: int = 50,
        generator: torch.Generator | int | None = None,
        output_type: Literal["pil", "np", "pt"] = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[["NLBPPipeline", int, int, dict[str, Tensor]], Any] | None = None,
        **options: Any,
    ) -> NLBPOutput | tuple:
        """Draw images. Given images are edited if labels are set, and otherwise reconstructed from the operator's
        outputs for them. Without images, new ones are drawn, with labels set or without. Given ``y``, solutions of
        ``g(x) = y`` are drawn.

        Arguments:
            images: PIL images, cropped and resized to the prior's shape; or arrays [N, H, W, C] or tensors
                [N, C, H, W] in [0, 1].
            set: Names to values, see :meth:`spnn.Session.edit`.
            y: Wanted outputs, [N, ...], see :meth:`spnn.Session.solve`; instead of ``images`` and ``set``.
            batch_size: The number of images to draw if neither images nor outputs are given.
            num_inference_steps: The sampler's steps.
            generator: A seed, or a generator to draw one from: image i starts from the noise of ``seed + i``. None
                draws it from PyTorch's own generator.
            output_type: The type of the output's ``images``.
            return_dict: Whether to return an :class:`NLBPOutput` or a tuple of its fields.
            callback_on_step_end: Called as ``(pipe, step, timestep, {"x0": x0})`` with the corrected clean images
                [N, C, H, W] in [-1, 1]; timesteps go from 999 to 0. An exception that it raises ends the drawing.
            **options: Options of the session's method: ``others``, ``guidance``, ``start``, ``values``.

        Raises:
            InputError: If an argument is missing, unknown or out of range.
        """
        if output_type not in ("pil", "np", "pt"):
            raise InputError(f"output_type is pil, np or pt, not {output_type!r}.")
        if y is not None and (images is not None or set is not None):
            raise InputError("give wanted outputs, y, or images and labels, not both.")
        options["values"] = self.values | dict(options.get("values") or {})
        options |= {"steps": num_inference_steps, "seed": _seed(generator)}
        if callback_on_step_end is not None:
            call = callback_on_step_end
            options["see"] = lambda step: call(self, step.place, step.t, {"x0": step.x0})
        given = None if images is None else self._in_range(images)
        if y is not None:
            drawn = self.session.solve(y, **options)
        elif given is None and set is None:
            drawn = self.session.unconditional(batch_size, **options)
        elif given is None:
            drawn = self.session.generate(set or {}, batch_size, **options)
        elif set is None:
            drawn = self.session.reconstruct(given, **options)
        else:
            drawn = self.session.edit(given, set, **options)
        shown = self.image_processor.postprocess((drawn.images / 2 + 0.5).clamp(0, 1), output_type)
        output = NLBPOutput(images=shown, metrics=drawn.metrics)
        return output if return_dict else (output.images, output.metrics)

    def _in_range(self, images: Images) -> Tensor:
        """Convert images in any form that diffusers accepts to [N, C, H, W] in [-1, 1]."""
        _, height, width = self.session.models.prior.image_shape
        try:
            found = self.image_processor.preprocess(images, height, width, resize_mode="crop")
        except (ValueError, TypeError, IndexError) as error:
            raise InputError(
                "expected images as PIL images, or as arrays [N, H, W, C] or tensors [N, C, H, W] in [0, 1], got "
                f"{type(images).__name__}: {error}"
            ) from error
        if not (found.min() >= 0 and found.max() <= 1):
            raise InputError(
                f"expected images in [0, 1], as diffusers has them, got {found.min():.3g} to {found.max():.3g}; those "
                "of a session, in [-1, 1], are converted by `images / 2 + 0.5`."
            )
        return 2 * found - 1


def _seed(generator: torch.Generator | int | None) -> int:
    if isinstance(generator, int):
        return generator
    if generator is None or isinstance(generator, torch.Generator):
        device = "cpu" if generator is None else generator.device
        return int(torch.randint(2**60, (), generator=generator, device=device))
    raise InputError(
        f"expected a generator or a seed, got {type(generator).__name__}: image i has the noise of seed + i, whatever "
        "the batch, so one is enough for all."
    )
