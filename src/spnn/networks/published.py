"""Read the published weights: state dicts with keys such as ``pinn.blocks.1.s.net.0.weight``.

The architecture is not stored with the weights, so it is inferred from the tensors. In the published code, the
numbering of blocks includes the pixel-unshuffles, ``mix`` holds the Cayley (``A_unconstrained``) or Householder
(``V``) parameter, and the numbering of layers in a sub-network includes the activations. The published Cayley transform
adds 1e-6 to the diagonal; ours is exactly orthogonal, and agrees with it to that precision.
"""

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from huggingface_hub.errors import EntryNotFoundError
from torch import Tensor

from spnn.errors import InputError
from spnn.networks.pretrained import clear_errors, find_file

__all__ = ["read_published"]

_KEY = re.compile(r"(?:module\.)?pinn\.blocks\.(\d+)\.(?:([str])\.net\.(\d+)\.(weight|bias)|mix\.(A_unconstrained|V))")
_MIXING = {"A_unconstrained": "cayley", "V": "householder"}
_RELEASED_FILE = "spnn_celebahq_256.pth"
# Sub-networks whose strides can't be inferred from the tensors' shapes.
_SHUFFLING = (
    "shuffle 4, conv3 32, conv3 128, conv3/2 256, conv3 512, conv3/2 512, conv3",
    "shuffle 8, conv3 128, conv3 256, conv3/2 512, conv3 512, conv3/2 1024, conv3/2",
)


def read_published(source: str | Path | Mapping[str, Tensor]) -> tuple[dict, dict[str, Tensor], list[str]]:
    """Return the arguments that build the network of a published state dict, the state dict with our names, and the
    names of the outputs, if a ``config.json`` beside the file gives them as ``names``.

    Arguments:
        source: A file saved by ``torch.save``; the state dict itself; or a repository on the hub, ``owner/name`` or
            ``owner/name/file.pth``. Files are loaded with ``weights_only``, never as arbitrary pickles; keys may have
            the prefix ``module.``.

    Raises:
        InputError: If the file can't be read safely, or a key or shape doesn't belong to a published network.
    """
    tensors, names = source, []
    if not isinstance(source, Mapping):
        with clear_errors(source):
            path = _locate(source)
            tensors = torch.load(path, map_location="cpu", weights_only=True)
            if (beside := path.with_name("config.json")).exists():
                names = json.loads(beside.read_text(encoding="utf-8")).get("names", [])
    if not isinstance(tensors, Mapping) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise InputError(f"expected a dictionary of tensors, got {_describe(tensors)} in {source}.")
    blocks: dict[int, dict] = {}
    for key, tensor in tensors.items():
        if not (match := _KEY.fullmatch(key)):
            raise InputError(f"the key {key!r} doesn't belong to a published network (expected pinn.blocks.I...).")
        block, part, layer, kind, mixing = match.groups()
        ours = f"{part}.{layer}.{kind}" if part else "mixing.parameter"
        blocks.setdefault(int(block), {})[ours] = tensor
        if mixing:
            blocks[int(block)]["mixing"] = _MIXING[mixing]
    if not blocks:
        raise InputError("the state dict is empty.")

    plan, channels, size = [], 3, 1
    state: dict[str, Tensor] = {}
    for place, (_, block) in enumerate(sorted(blocks.items())):
        try:
            mixing, mixed = block.pop("mixing"), block["mixing.parameter"].shape[1]
            kept = len(_layers("s", block)[-1][1])
            texts = {
                part: _text(part, _layers(part, block), width)
                for part, width in {"s": mixed - kept, "t": mixed - kept, "r": kept}.items()
            }
        except (KeyError, IndexError) as error:
            raise InputError(
                f"block {place} has no {error}; is this the whole state dict of a published network?"
            ) from None
        factor = math.isqrt(mixed // channels)
        if factor**2 * channels != mixed:
            raise InputError(f"block {place} mixes {mixed} channels, but gets {channels}.")
        plan.append({"channels": kept, "unshuffle": factor, "mixing": mixing, **texts})
        state |= {f"parts.{place}.{name}": tensor for name, tensor in block.items()}
        channels, size = kept, size * factor
    return {"image_shape": (3, size, size), "plan": plan, "scale_bound": 2.0, "shift_bound": 1.0}, state, names


def _locate(source: str | Path) -> Path:
    """The file that ``source`` names; downloaded if ``source`` is a repository on the hub and not a local file."""
    parts = Path(source).parts
    named = Path(source).suffix in (".pth", ".pt", ".ckpt", ".bin")
    if Path(source).is_file() or len(parts) != (3 if named else 2):
        return Path(source)
    with suppress(EntryNotFoundError):  # not every repository has one
        find_file("/".join(parts[:2]), "config.json")
    return find_file("/".join(parts[:2]), parts[2] if named else _RELEASED_FILE)


def _layers(part: str, block: Mapping[str, Tensor]) -> list[tuple[int, Tensor]]:
    """The weights of a sub-network's convolutions, each with its position among the layers."""
    found = {name.split(".")[1]: w for name, w in block.items() if re.fullmatch(rf"{part}\.\d+\.weight", name)}
    if not found:
        raise KeyError(part)
    return sorted((int(place), weight) for place, weight in found.items())


def _text(part: str, layers: list[tuple[int, Tensor]], in_channels: int) -> str:
    """Write a sub-network's layers in the form that :mod:`spnn.networks.layers` reads."""
    shapes = [tuple(weight.shape) for _, weight in layers]
    shuffled = layers[0][0]  # 1 after a pixel shuffle, otherwise 0
    if [place for place, _ in layers] != list(range(shuffled, shuffled + 2 * len(layers), 2)) or shuffled > 1:
        raise InputError(f"the sub-network {part!r} has layers of an unknown kind between {[p for p, _ in layers]}.")
    words = [f"up {shape[1]}" if shape[2] == 4 else f"conv{shape[2]} {shape[0]}" for shape in shapes]
    words[-1] = words[-1].split()[0]
    if shuffled:
        factor = math.isqrt(in_channels // shapes[0][1])
        text = ", ".join([f"shuffle {factor}", *words])
        for known in _SHUFFLING:
            if known.replace("/2", "") == text:
                return known
        raise InputError(f"the strides of the sub-network {part!r} ({text}) are not known.")
    if up := [shape[0] for shape in shapes if shape[2] == 4]:
        # An upsampling undoes the only stride, which is where the width first rises to that of the upsampling's input.
        strided = next((j for j, (rows, columns, *_) in enumerate(shapes) if rows == up[0] != columns), None)
        if strided is None:
            raise InputError(f"the sub-network {part!r} upsamples, but nothing in it strides.")
        words[strided] = words[strided].replace(" ", "/2 ")
    return ", ".join(words)


def _describe(found: object) -> str:
    if isinstance(found, Mapping):
        other = next(key for key, value in found.items() if not isinstance(value, Tensor))
        return f"a dictionary whose {other!r} is a {type(found[other]).__name__}"
    return f"a {type(found).__name__}"
