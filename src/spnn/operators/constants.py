"""Constants of operators, exact in any precision."""

import torch
from torch import Tensor

__all__ = ["Exact"]


class Exact:
    """Constants kept in double precision and converted to the type and device of the tensors they are used with. They
    are not a buffer, because Apple's GPUs don't support doubles."""

    def __init__(self, values: Tensor):
        self.values = values.detach().double().cpu()
        self._kept: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def __call__(self, like: Tensor) -> Tensor:
        key = like.dtype, like.device
        if key not in self._kept:
            with torch.inference_mode(False):  # a tensor of inference mode could not enter a later graph
                self._kept[key] = self.values.to(like.dtype).to(like.device)
        return self._kept[key]
