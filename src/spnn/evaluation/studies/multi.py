"""Edit several labels at once (the paper's Figure 5)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from spnn.errors import InputError, some_of
from spnn.evaluation.findings import Bars
from spnn.evaluation.studies.edit import Edit, Flip, mean
from spnn.readout import Setting

__all__ = ["Multi"]

_USUAL = (2, 3)  # numbers of labels set at once
_COMMON = 0.01  # if at least this share of real images shows a combination, it is not a contradiction


class Multi(Edit):
    """Like :class:`~spnn.evaluation.studies.Edit`, with several labels set in one image; an edit takes if all of them
    are as set.

    Arguments:
        settings: A list of what to set in every image: name to yes, no, logit or probability. None: for each image,
            labels are drawn at random from those that the most trusted classifier recognises well (from all, if
            these are too few), and set to what the image doesn't show, whether or not any image shows them together.
        sizes: The numbers of labels to draw; None for 2 and 3, if there are that many.
        seed: The seed for drawing labels.
        others, starts, quantile, well_judged: See :class:`~spnn.evaluation.studies.Edit`.
    """

    name = "multi"

    def __init__(
        self,
        settings: Sequence[Mapping[str, float | str | bool]] | None = None,
        sizes: Sequence[int] | None = None,
        seed: int = 0,
        others: Sequence[float | str] = ("follow", "keep"),
        starts: Sequence[int | None] = (None,),
        quantile: float = 0.95,
        well_judged: float = 0.8,
    ):
        if settings is None and sizes is not None and (not sizes or min(sizes) < 1):
            raise InputError(f"study.sizes must name numbers of labels of at least 1, got {list(sizes)}.")
        super().__init__(settings=settings, others=others, starts=starts, quantile=quantile, well_judged=well_judged)
        self.sizes, self.seed = sizes, seed

    def flips(self) -> list[Flip]:
        images = range(len(self.subject.names))
        if self.settings is not None:
            return [Flip(i, self._resolved(read), read) for read in self._wanted() for i in images]
        readout = self.subject.readout
        labels = list(dict.fromkeys(tuple(readout.together(k)) for k in range(len(readout.names))))
        told = [label for label in labels if self.told[list(label)].all()]
        if not all(readout.part(k).flips for k in range(len(readout.names))):
            raise InputError(
                f"{some_of(readout.names, 5)} are only set together, so nothing is drawn at random: say what to set by "
                "study.settings=[{...}], as in edit.set."
            )
        usual = [size for size in _USUAL if size <= len(labels)] or [len(labels)]
        sizes = usual if self.sizes is None else sorted(set(self.sizes))
        among = told if len(told) >= max(sizes) else labels
        if len(among) < max(sizes):
            raise InputError(f"study.sizes asks for {max(sizes)} labels of {len(labels)}.")
        generator, flips = torch.Generator().manual_seed(self.seed), []
        for size in sizes:
            for i in images:
                drawn = torch.randperm(len(among), generator=generator)[:size].sort().values.tolist()
                others = dict(self._other(i, among[d], generator) for d in drawn)
                flips.append(Flip(i, self._resolved(others), others))
        return flips

    def _other(self, image: int, label: Sequence[int], generator: torch.Generator) -> tuple[int, Setting]:
        """A setting of a label that a held-out image doesn't show: a coordinate, and the value to set it to."""
        readout, y = self.subject.readout, self.subject.seen[self.subject.most_trusted][[image]]
        has = readout.has(readout.decode(y))[0]
        if len(label) > 1:  # choose another class
            others = [k for k in label if not has[k]]
            return others[torch.randint(len(others), (), generator=generator)], True
        (k,) = label
        on = has[k] if readout.part(k).grouped else self.is_on(k, y[0, k].item())
        return k, not bool(on)

    def _entries(self, rows: list[dict], images: Tensor, unedited: Tensor) -> list[dict[str, Any]]:
        entries = []
        for size in sorted({row["set"] for row in rows}):
            places = [m for m, row in enumerate(rows) if row["set"] == size]
            own = [rows[m] for m in places]
            found = {"set": size, **self._means(own)}
            found |= {f"{prefix}each": mean(row[f"{prefix}each"] for row in own) for prefix in self.subject.seen}
            seen = self._means([row for row in own if row["real_share"] >= _COMMON])
            found |= {f"common_{key}": value for key, value in seen.items()}
            entries.append(found | self._realism(places, images, unedited))
        return entries

    def _columns(self) -> dict[str, str]:
        prefix = self.subject.most_trusted
        return super()._columns() | {
            f"{prefix}each": "each as set %",
            "common_edits": "common ones",
            f"common_{prefix}edit_success": "of these take %",
        }

    def _bars(self, success: dict[str, list[float | None]]) -> list[Bars]:
        return []

    def _what(self) -> str:
        if self.settings is not None:
            return "Several labels are set at once in the outputs of held-out images."
        return (
            "In the outputs of each held-out image several labels, drawn at random, are set to what the image "
            "doesn't show, contradictions included. An edit takes if all of them are as set. 'Common ones' are the "
            f"edits whose combination at least {100 * _COMMON:.0f} % of real images show."
        )
