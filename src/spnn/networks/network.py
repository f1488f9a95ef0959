"""SPNN: surjective coupling blocks in a row, from an image to a vector of logits, built from a plan."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from spnn.errors import InputError
from spnn.networks.coupling import SurjectiveCoupling
from spnn.networks.published import read_published
from spnn.surjection import Completion, Composition

__all__ = ["SPNN"]


class SPNN(Composition):
    """A surjective pseudo-invertible network, [B, C, H, W] -> [B, K].

    Arguments:
        image_shape: (C, H, W) of the images.
        plan: One mapping per block, outermost first: the arguments of
            :class:`~spnn.networks.coupling.SurjectiveCoupling` but ``in_channels``. The last block's ``channels`` is
            K; it must leave one pixel.
        outputs: K, where the last block of the plan doesn't say ``channels``.
        **defaults: Arguments for every block whose plan doesn't give them (``mixing``, ``scale_bound``, ...).

    Raises:
        InputError: If the plan doesn't fit the image or doesn't end at 1x1; the message names the block.

    Example:
        >>> import torch
        >>> from spnn import SPNN
        >>> block = {"st": "conv1 16, conv1", "r": "conv1 16, conv1"}
        >>> net = SPNN((3, 8, 8), [{"unshuffle": 4, "channels": 12} | block, {"unshuffle": 2, "channels": 5} | block])
        >>> y = torch.randn(2, 5)
        >>> torch.allclose(net(net.pinv(y)), y, atol=1e-5)
        True
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        plan: Sequence[Mapping[str, Any]],
        outputs: int | None = None,
        **defaults: Any,
    ):
        channels, height, width = self.image_shape = tuple(image_shape)
        blocks = []
        for i, arguments in enumerate(plan):
            arguments = {**defaults, **arguments}
            if i == len(plan) - 1 and outputs is not None and arguments.setdefault("channels", outputs) != outputs:
                raise InputError(
                    f"the plan's last block gives {arguments['channels']} outputs, but {outputs} are asked."
                )
            factor = arguments.get("unshuffle", 1)
            if factor < 1 or height % factor or width % factor:
                raise InputError(f"block {i} of the plan can't unshuffle {height}x{width} pixels by {factor}.")
            height, width = height // factor, width // factor
            try:
                blocks.append(SurjectiveCoupling(channels, **arguments))
            except (InputError, TypeError) as error:
                raise InputError(f"block {i} of the plan: {error}") from error
            channels = blocks[-1].channels
        if (height, width) != (1, 1):
            raise InputError(
                f"the plan leaves {height}x{width} pixels of an image of {self.image_shape}: its unshuffles must "
                "multiply to the image's size."
            )
        super().__init__(*blocks)
        self.num_outputs = channels

    @classmethod
    def from_published(cls, source: str | Path | Mapping[str, Tensor]) -> "SPNN":
        """Build the network of a published state dict, given as a file or as a mapping, and load its weights.

        The plan is inferred from the tensors. Raises :class:`~spnn.errors.InputError` as
        :func:`~spnn.networks.published.read_published` does.
        """
        arguments, state = read_published(source)
        network = cls(**arguments)
        network.load_state_dict(state)
        return network.eval()

    def complete(self, x: Tensor) -> Completion:
        """Apply the bijection: ``y, z = complete(x)``, ``y`` [B, K], ``z`` one latent per block, outermost first.

        Raises:
            InputError: If ``x`` is not [B, C, H, W] of the network's ``image_shape``.
        """
        if x.shape[1:] != self.image_shape:
            raise InputError(
                f"expected images of shape [B, {', '.join(map(str, self.image_shape))}], got {tuple(x.shape)}."
            )
        y, z = super().complete(x)
        return Completion(y.flatten(1), z)

    def invert(self, y: Tensor, z: list[Tensor]) -> Tensor:
        """Apply the bijection's inverse: the image, [B, C, H, W], whose completion is ``(y, z)``."""
        return super().invert(y[:, :, None, None], z)

    def complete_pinv(self, y: Tensor) -> Completion:
        r"""Return :math:`G(g^\dagger(y))` for ``y`` [B, K]: the chain of ``r``; the outermost block needs nothing else.

        Raises:
            InputError: If ``y`` is not [B, K].
        """
        if y.ndim != 2 or y.shape[1] != self.num_outputs:
            raise InputError(f"expected logits of shape [B, {self.num_outputs}], got {tuple(y.shape)}.")
        return Completion(y, super().complete_pinv(y[:, :, None, None]).z)
