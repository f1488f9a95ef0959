"""SPNN: a sequence of surjective coupling blocks from an image to a vector of outputs, built from a plan."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor

from spnn.errors import InputError
from spnn.networks.coupling import SurjectiveCoupling
from spnn.networks.pretrained import clear_errors, read_safetensors
from spnn.networks.published import read_published
from spnn.surjection import Bijection, Completion, Composition

__all__ = ["SPNN"]


class SPNN(
    Composition,
    PyTorchModelHubMixin,
    library_name="spnn",
    license="mit",
    paper_url="https://arxiv.org/abs/2602.06042",
    tags=["inverse-problems", "invertible-neural-network"],
):
    """A surjective pseudo-invertible network, [B, C, H, W] -> [B, K].

    ``save_pretrained(folder)`` writes ``model.safetensors`` and ``config.json`` to a folder, ``push_to_hub(repo)``
    publishes them, and :meth:`from_pretrained` rebuilds the network from either.

    Arguments:
        image_shape: (C, H, W) of the images.
        plan: One mapping per block, outermost first: the arguments of
            :class:`~spnn.networks.coupling.SurjectiveCoupling` except ``in_channels`` and ``size``. The last block's
            ``channels`` is K; it must leave one pixel, or ``grid``.
        outputs: K, if the last block of the plan doesn't give ``channels``.
        grid: For outputs that are maps, the (rows, columns) that the plan leaves, or one number for both. The K outputs
            are ``K / (rows columns)`` maps, one after the other, row by row.
        names: Names of the outputs, which are written to ``config.json``; empty if they aren't known.
        **defaults: Arguments for every block whose plan doesn't give them (``mixing``, ``hidden``, ...).

    Raises:
        InputError: If the plan doesn't fit the image or doesn't end at 1x1 (or ``grid``); the message names the block.
            Later, if images or logits have a different shape.

    Examples:
        >>> import torch
        >>> from spnn import SPNN
        >>> net = SPNN((3, 8, 8), [{"unshuffle": 4, "channels": 12}, {"unshuffle": 2, "channels": 5}], hidden=16)
        >>> y = torch.randn(2, 5)
        >>> torch.allclose(net(net.pinv(y)), y, atol=1e-5)
        True
    """

    _hub_mixin_config: dict[str, Any]

    keywords_of = SurjectiveCoupling
    """The class that other arguments are passed to; their names are checked against it with the config."""

    def __init__(
        self,
        image_shape: Sequence[int],
        plan: Sequence[Mapping[str, Any]],
        outputs: int | None = None,
        names: Sequence[str] = (),
        grid: int | Sequence[int] = 1,
        **defaults: Any,
    ):
        if len(image_shape) != 3:
            raise InputError(f"expected an image_shape (C, H, W), got {tuple(image_shape)}.")
        channels, height, width = self.image_shape = tuple(image_shape)
        whole = [{**defaults, **arguments} for arguments in plan]
        if not whole:
            raise InputError("the plan has no blocks.")
        self.grid = (grid, grid) if isinstance(grid, int) else tuple(grid)
        cells, asked = math.prod(self.grid), "x".join(map(str, self.grid))
        if outputs is not None:
            if outputs % cells:
                raise InputError(f"{outputs} outputs are no maps of {asked}: choose another `grid`.")
            if (found := whole[-1].setdefault("channels", outputs // cells) * cells) != outputs:
                raise InputError(f"the plan's last block gives {found} outputs; {outputs} were requested.")
        blocks = []
        for i, arguments in enumerate(whole):
            try:
                block = SurjectiveCoupling(channels, size=(height, width), **arguments)
            except (InputError, TypeError) as error:
                of = f" ({outputs} outputs were requested)" if outputs is not None and i == len(whole) - 1 else ""
                raise InputError(f"block {i} of the plan{of}: {error}") from error
            channels, height, width = block.channels, height // block.unshuffle, width // block.unshuffle
            blocks.append(block)
        if (height, width) != self.grid:
            raise InputError(
                f"the plan leaves {height}x{width} pixels of an image of {self.image_shape}, not the "
                f"{asked} of `grid`: its unshuffles must multiply to the image's size over the grid's."
            )
        super().__init__(*blocks, _Flat(channels, *self.grid))
        self.num_outputs = channels * cells
        self._hub_mixin_config = {"image_shape": list(self.image_shape), "plan": whole}  # what config.json will hold
        self._hub_mixin_config |= {"grid": list(self.grid)} if cells > 1 else {}
        self.names = names

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the K outputs; empty if they aren't known."""
        return tuple(self._hub_mixin_config.get("names", ()))

    @names.setter
    def names(self, names: Sequence[str]) -> None:
        if names and (len(names) != self.num_outputs or len(set(names)) < len(names)):
            raise InputError(f"expected {self.num_outputs} different names of the outputs, got {list(names)}.")
        self._hub_mixin_config |= {"names": list(names)} if names else {}

    @classmethod
    def from_published(cls, source: str | Path | Mapping[str, Tensor]) -> "SPNN":
        """Build the network of a published state dict and load its weights; the plan is inferred from the tensors. The
        outputs' names come from a ``config.json`` beside the file; without one, they are CelebA's if the number of
        outputs matches.

        Arguments:
            source: A file saved by ``torch.save``, a state dict, or a repository on the hub, ``"yamitehr/SPNN"`` (a
                file in it: ``"yamitehr/SPNN/spnn_celebahq_256.pth"``).

        Raises:
            InputError: See :func:`~spnn.networks.published.read_published`.
        """
        from spnn.data import CELEBA_ATTRIBUTES  # imported here, because networks don't need Lightning

        arguments, state, names = read_published(source)
        with clear_errors("the state dict" if isinstance(source, Mapping) else source):
            network = cls(**arguments)
            network.load_state_dict(state)
            network.names = names or (CELEBA_ATTRIBUTES if network.num_outputs == len(CELEBA_ATTRIBUTES) else ())
        return network.eval()

    # The hub's class lists its options one by one.
    @classmethod
    def from_pretrained(cls, folder_or_repository: str | Path, **options: Any) -> "SPNN":  # type: ignore[override]
        """Build the network that ``save_pretrained`` wrote or ``push_to_hub`` published, and load its weights.

        Arguments:
            folder_or_repository: The folder, or a repository on the hub, ``owner/name``.
            **options: ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``force_download``; see
                :class:`huggingface_hub.ModelHubMixin`.

        Raises:
            InputError: If there is no such network, or its weights don't fit its config.
        """
        with clear_errors(folder_or_repository):
            return super().from_pretrained(folder_or_repository, **options)

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, image_shape: Any = None, plan: Any = None, names: Any = (), grid: Any = 1, **options: Any
    ) -> "SPNN":
        if image_shape is None or plan is None:
            raise InputError(
                f"{model_id} has no config.json with an `image_shape` and a `plan`: `save_pretrained` writes one. "
                "For published weights use `from_published`."
            )
        network = cls(image_shape, plan, names=names, grid=grid)
        network.load_state_dict(read_safetensors(model_id, **options))
        return network.eval()

    def complete(self, x: Tensor) -> Completion:
        """Apply the bijection: ``y, z = complete(x)``, ``y`` [B, K], ``z`` one latent per block, outermost first."""
        if x.shape[1:] != self.image_shape:
            raise InputError(
                f"expected images of shape [B, {', '.join(map(str, self.image_shape))}], got {tuple(x.shape)}."
            )
        return super().complete(x)


class _Flat(Bijection):
    """Flatten maps to vectors, [B, C, H, W] -> [B, C H W]."""

    def __init__(self, *shape: int):
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def inverse(self, y: Tensor) -> Tensor:
        if y.ndim != 2 or y.shape[1] != math.prod(self.shape):
            raise InputError(f"expected outputs of shape [B, {math.prod(self.shape)}], got {tuple(y.shape)}.")
        return y.unflatten(1, self.shape)

    def inverse_with_log_det(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.inverse(y), y.new_zeros(len(y))
