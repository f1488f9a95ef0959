"""Read the UNets of the DDIM code base, such as SDEdit's ``celeba_hq.ckpt``, into diffusers' layout.

The network is the same; only the names, the order of the upward levels and the form of the attention's projections
differ. The architecture isn't stored with the weights, so it is inferred from the tensors.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spnn.errors import InputError
from spnn.networks.pretrained import clear_errors

__all__ = ["read_ddim_checkpoint"]

# The options with which diffusers' UNet2DModel computes the same as the DDIM code.
_SAME_AS_DDIM = {
    "act_fn": "silu",
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
}
_NAMES = {
    "temb.dense.0": "time_embedding.linear_1",
    "temb.dense.1": "time_embedding.linear_2",
    "mid.block_1": "mid_block.resnets.0",
    "mid.block_2": "mid_block.resnets.1",
    "mid.attn_1": "mid_block.attentions.0",
    "norm_out": "conv_norm_out",
    "downsample": "downsamplers.0",
    "upsample": "upsamplers.0",
    "temb_proj": "time_emb_proj",
    "nin_shortcut": "conv_shortcut",
    "block": "resnets",
    "attn": "attentions",
}
_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def read_ddim_checkpoint(source: str | Path | Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the arguments of :class:`diffusers.UNet2DModel` for a checkpoint, and its state dict for that model.

    Arguments:
        source: A file saved by ``torch.save``, or the state dict itself. In a file, the state dict may be the first
            item of a list, as in training states. Keys may have the prefix ``module.``, and half precision becomes
            float32. Files are loaded with ``weights_only``, never as arbitrary pickles.

    Raises:
        InputError: If the source can't be read, or isn't such a UNet.
    """
    tensors = source
    if not isinstance(source, Mapping):
        with clear_errors(source):
            tensors = torch.load(source, map_location="cpu", weights_only=True)
    if isinstance(tensors, list) and tensors:
        tensors = tensors[0]
    if not isinstance(tensors, Mapping) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise InputError(f"{source if tensors is not source else 'this'} holds no state dict of a UNet.")
    state = {name.removeprefix("module."): tensor.float() for name, tensor in tensors.items()}
    try:
        levels = 1 + max(int(match[1]) for name in state if (match := re.match(r"down\.(\d+)\.", name)))
        blocks = 1 + max(int(match[1]) for name in state if (match := re.match(r"down\.0\.block\.(\d+)\.", name)))
        attends = [f"down.{level}.attn.0.q.weight" in state for level in range(levels)]
        arguments = {
            **_SAME_AS_DDIM,
            "in_channels": state["conv_in.weight"].shape[1],
            "out_channels": state["conv_out.weight"].shape[0],
            "block_out_channels": [state[f"down.{level}.block.0.conv1.weight"].shape[0] for level in range(levels)],
            "layers_per_block": blocks,
            "down_block_types": ["AttnDownBlock2D" if attend else "DownBlock2D" for attend in attends],
            "up_block_types": ["AttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)],
        }
    except (KeyError, ValueError) as error:
        raise InputError(
            f"this is not a UNet of the DDIM code base: {error}. Expected keys such as conv_in.weight and "
            f"down.0.block.0.conv1.weight, found {', '.join(list(state)[:3])}, ..."
        ) from None
    return arguments, dict(_rename(name, tensor, levels) for name, tensor in state.items())


def _rename(name: str, tensor: Tensor, levels: int) -> tuple[str, Tensor]:
    name = re.sub(r"^down\.(\d+)", r"down_blocks.\1", name)
    name = re.sub(r"^up\.(\d+)", lambda match: f"up_blocks.{levels - 1 - int(match[1])}", name)
    for theirs, ours in _NAMES.items():
        name = re.sub(rf"(?<![^.]){re.escape(theirs)}(?=\.)", ours, name)
    if match := re.fullmatch(r"(.*\.attentions\.\d+)\.(\w+)\.(weight|bias)", name):
        place, part, kind = match.groups()
        name = f"{place}.{_ATTENTION.get(part, part)}.{kind}"
        if part != "norm" and kind == "weight":
            tensor = tensor[:, :, 0, 0]  # a 1x1 convolution is a linear layer
    return name, tensor
