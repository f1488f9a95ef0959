"""Read the published weights: state dicts with keys such as ``pinn.blocks.1.s.net.0.weight``.

The architecture is not stored beside them; it follows from the tensors. Blocks of the published code count their
pixel-unshuffles too, ``mix`` holds the Cayley (``A_unconstrained``) or Householder (``V``) parameter, and sub-networks
count their activations. Their Cayley transform adds 1e-6 to the diagonal; ours is exactly orthogonal, and agrees to
that.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from spnn.errors import InputError

__all__ = ["read_published"]

_KEY = re.compile(r"(?:module\.)?pinn\.blocks\.(\d+)\.(?:([str])\.net\.(\d+)\.(weight|bias)|mix\.(A_unconstrained|V))")
_MIXING = {"A_unconstrained": "cayley", "V": "householder"}


def read_published(source: str | Path | Mapping[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Return the arguments that build the network of a published state dict, and the state dict in our names.

    Arguments:
        source: A file saved by ``torch.save`` (loaded with ``weights_only``, never as an arbitrary pickle) or the
            state dict itself; keys may carry the prefix ``module.``.

    Raises:
        InputError: If the file can't be read safely, or a key or shape doesn't belong to a published network.
    """
    if not isinstance(source, Mapping):
        try:
            source = torch.load(source, map_location="cpu", weights_only=True)
        except Exception as error:
            raise InputError(f"can't load {source} as a dictionary of tensors: {error}") from error
    blocks: dict[int, dict] = {}
    for key, tensor in source.items():
        if not (match := _KEY.fullmatch(key)):
            raise InputError(f"the key {key!r} doesn't belong to a published network (expected pinn.blocks.I...).")
        block, part, layer, kind, mixing = match.groups()
        ours = f"{part}.{layer}.{kind}" if part else "mixing.parameter"
        blocks.setdefault(int(block), {})[ours] = tensor
        if mixing:
            blocks[int(block)]["mixing"] = _MIXING[mixing]

    plan, state, channels, size = [], {}, 3, 1
    for place, (_, tensors) in enumerate(sorted(blocks.items())):
        try:
            mixing, mixed = tensors.pop("mixing"), tensors["mixing.parameter"].shape[1]
            kept = mixed - tensors["s.0.weight"].shape[1]
            texts = {part: _layers_text(part, tensors) for part in "str"}
        except KeyError as error:
            raise InputError(f"block {place} has no {error}; is this a state dict of a published network?") from None
        factor = math.isqrt(mixed // channels)
        if factor**2 * channels != mixed:
            raise InputError(f"block {place} mixes {mixed} channels, but gets {channels}.")
        plan.append({"channels": kept, "unshuffle": factor, "mixing": mixing, **texts})
        state |= {f"parts.{place}.{name}": tensor for name, tensor in tensors.items()}
        channels, size = kept, size * factor
    return {"image_shape": (3, size, size), "plan": plan, "scale_bound": 2.0}, state


def _layers_text(part: str, tensors: Mapping[str, Tensor]) -> str:
    """Write a sub-network's layers as :mod:`spnn.networks.layers` reads them."""
    weights = {int(name.split(".")[1]): w for name, w in tensors.items() if re.fullmatch(rf"{part}\.\d+\.weight", name)}
    shapes = [tuple(weights[j].shape) for j in sorted(weights)]
    if sorted(weights) != list(range(0, 2 * len(weights), 2)):
        raise InputError(f"the sub-network {part!r} holds pixel shuffles (layers {sorted(weights)}): not known here.")
    up_inputs = [shape[0] for shape in shapes if shape[2] == 4]
    words, strided = [], not up_inputs  # an upsampling undoes the one stride, where the width first rises to its input
    for rows, columns, kernel, _ in shapes:
        if kernel == 4:
            words.append(f"up {columns}")
        elif not strided and rows == up_inputs[0] != columns:
            words.append(f"conv{kernel}/2 {rows}")
            strided = True
        else:
            words.append(f"conv{kernel} {rows}")
    return ", ".join(words).rpartition(" ")[0]
