"""Whether edits take, and what else changes with them."""

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["EditEffects"]


class EditEffects(Metric):
    """Effects of setting one attribute, in S settings (an attribute and a value) over K attributes.

    ``update(setting, attribute, on, before, after)`` takes, of each sample, the setting [B], the attribute that it sets
    [B], whether to have it [B], and what a classifier sees in the image before and in the sample, [B, K] of booleans.
    ``compute`` returns

    - ``success`` [S]: how often the sample has the attribute if and only if it should;
    - ``flipped`` [S]: the same among images that were otherwise before; NaN where none was;
    - ``changed`` [S, K]: how often the sample differs from the image before in each attribute;
    - ``side_effects`` [S]: how many of the *other* attributes differ, on average.

    Arguments:
        settings: S.
        attributes: K.
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self, settings: int, attributes: int):
        super().__init__()
        for name, shape in (
            ("count", (settings,)),
            ("succeeded", (settings,)),
            ("opposite", (settings,)),
            ("turned", (settings,)),
            ("others", (settings,)),
            ("differ", (settings, attributes)),
        ):
            self.add_state(name, torch.zeros(shape, dtype=torch.double), dist_reduce_fx="sum")

    def update(self, setting: Tensor, attribute: Tensor, on: Tensor, before: Tensor, after: Tensor) -> None:
        here = torch.arange(len(setting), device=setting.device), attribute
        right, opposite = after[here] == on, before[here] != on
        differ = after != before
        others = differ.sum(1) - differ[here].long()
        for name, value in (
            ("count", torch.ones_like(setting)),
            ("succeeded", right),
            ("opposite", opposite),
            ("turned", right & opposite),
            ("others", others),
            ("differ", differ),
        ):
            getattr(self, name).index_add_(0, setting, value.double())

    def compute(self) -> dict[str, Tensor]:
        return {
            "success": self.succeeded / self.count,
            "flipped": self.turned / self.opposite,
            "changed": self.differ / self.count[:, None],
            "side_effects": self.others / self.count,
        }
