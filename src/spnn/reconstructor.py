"""A prior and a guidance as a reconstructor for the library deepinv (``pip install 'spnn[deepinv]'``)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from spnn.diffusion.denoiser import ImagePrior
from spnn.errors import InputError
from spnn.operators import DeepinvOperator
from spnn.session import Session

if TYPE_CHECKING:
    from deepinv.models import Reconstructor
    from deepinv.physics import LinearPhysics

__all__ = ["as_deepinv"]


def as_deepinv(
    prior: ImagePrior,
    *,
    guidance: str | None = None,
    steps: int = 50,
    seed: int = 0,
    values: Mapping[str, Any] | None = None,
) -> "Reconstructor":
    """Make a model for deepinv's training, tests and benchmarks: ``model(y, physics)`` draws the images.

    Arguments:
        prior: A diffusion prior of images [C, H, W] in [-1, 1]; deepinv's images lie in [0, 1].
        guidance: An option of ``conf/guidance``; None for ``nlbp_noisy`` if the physics has normal noise, and otherwise
            for ``ddnm``, which meets the measurement exactly.
        steps: The sampler's steps.
        seed: Image i starts from the noise of ``seed + i``.
        values: Other options by their full names, as in :meth:`spnn.Session.draw`.

    Raises:
        InputError: If deepinv isn't installed; or, when the model is called, if the physics isn't linear.
    """
    try:
        from deepinv.models import Reconstructor
        from deepinv.physics import LinearPhysics
    except ModuleNotFoundError:
        raise InputError("deepinv isn't installed: pip install 'spnn[deepinv]'.") from None

    class Guided(Reconstructor):
        """Draws images with a diffusion prior that is guided to the measurement."""

        def __init__(self):
            super().__init__(device=next(prior.parameters(), torch.zeros(0)).device)
            self.prior = prior

        def forward(self, y: Tensor, physics: "LinearPhysics", **_: Any) -> Tensor:
            if not isinstance(physics, LinearPhysics):
                raise InputError(f"expected a linear physics of deepinv, got {type(physics).__name__}.")
            operator = DeepinvOperator(physics, self.prior.image_shape)
            ones = torch.ones(1, *self.prior.image_shape, device=y.device)
            target = 2 * y - operator(ones)  # the measurement of images in [-1, 1]
            noise = 2 * float(getattr(physics.noise_model, "sigma", 0.0))
            chosen = guidance or ("nlbp_noisy" if noise else "ddnm")
            told = {"guidance.noise": noise} if noise and chosen == "nlbp_noisy" else {}
            drawn = Session(self.prior, operator).solve(
                target, guidance=chosen, steps=steps, seed=seed, values=told | dict(values or {})
            )
            return ((drawn.images + 1) / 2).to(y)

    return Guided()
