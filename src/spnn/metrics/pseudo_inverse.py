r"""Whether a pseudo-inverse obeys its laws, and how natural it is.

The three *Penrose errors* are the largest absolute errors, :math:`\|\cdot\|_\infty`, of the laws

.. math:: g g^\dagger g = g, \qquad g^\dagger g g^\dagger = g^\dagger, \qquad g g^\dagger = \mathrm{id}.

The first is measured at images, the others at any ``y``. They are zero by construction, for any choice of latents, so
that only rounding is measured. The natural pseudo-inverse (Definition 4.2) minimises the *natural norm*
:math:`E\|G(g^\dagger(y)) - G(0)\|^2`. Its part in ``y`` doesn't depend on the choice of latents, so the part of the
latents is also given separately.

References:
    Pseudo-Invertible Neural Networks (Ehrlich, Berman, Shocher, 2026), https://arxiv.org/abs/2602.06042
"""

import torch
from torch import Tensor

from spnn.surjection import Surjection

__all__ = ["natural_norm", "penrose_errors"]


@torch.no_grad()
def penrose_errors(surjection: Surjection, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The largest errors of the three laws in each sample, in the precision of the inputs, never under autocast.

    Arguments:
        surjection: The g of the laws.
        x: Images, [N, ...].
        y: Outputs, [M, ...], which need not be those of the images.

    Returns:
        ``g_pinv_g``, [N], ``pinv_g_pinv`` and ``g_pinv``, [M], each absolute and, as ``<name>_relative``, divided by
        the largest value of the same sample's right-hand side.
    """
    g, pinv = surjection, surjection.pinv
    with torch.autocast(x.device.type, enabled=False):
        seen, nearest = g(x), pinv(y)
        back = g(nearest)
        sides = {"g_pinv_g": (g(pinv(seen)), seen), "pinv_g_pinv": (pinv(back), nearest), "g_pinv": (back, y)}
    errors = {}
    for law, (left, right) in sides.items():
        errors[law] = (left - right).abs().flatten(1).amax(1)
        size = right.abs().flatten(1).amax(1).clamp(min=torch.finfo(right.dtype).tiny)
        errors[f"{law}_relative"] = errors[law] / size
    return errors


@torch.no_grad()
def natural_norm(surjection: Surjection, y: Tensor, image_shape: tuple[int, ...]) -> dict[str, Tensor]:
    r"""Return ``natural``, :math:`\|G(g^\dagger(y)) - G(0)\|^2` for each output, [N, ...] -> [N], the sum of squares
    over all coordinates, and ``natural_latents``, the part of the latents; images are (C, H, W)."""
    with torch.autocast(y.device.type, enabled=False):
        there = surjection.complete_pinv(y)
        origin = surjection.complete(torch.zeros(1, *image_shape, dtype=y.dtype, device=y.device))
    shown = (there.y - origin.y).square().flatten(1).sum(1)
    latents = torch.zeros_like(shown)  # a bijection has none
    for z, z0 in zip(there.z, origin.z, strict=True):
        latents = latents + (z - z0).square().flatten(1).sum(1)
    return {"natural": shown + latents, "natural_latents": latents}
