"""Several attributes at once (the paper's Figure 5), with the others as in a given image, or free."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from spnn.errors import InputError
from spnn.evaluation.findings import Bars, Findings, Pictures, Table
from spnn.evaluation.study import Request, Samples, Study
from spnn.sampling.targets import as_logit, attribute_index

__all__ = ["Multi"]

_MODES = ("kept", "free")


class Multi(Study):
    """Attributes are set together, in two ways: the other logits are *kept* as in each held-out image, or are *free* to
    follow the current image.

    Arguments:
        settings: A list of what to set: name to logit or probability. None: drawn at random, each with the values of a
            real image's labels, so that what is asked for together is seen together.
        sizes: How many attributes a random setting sets.
        each: How many random settings of each size.
        value: The logit, or its negative, that a random setting sets.
        seed: Of the random settings.
    """

    name = "multi"

    def __init__(
        self,
        settings: Sequence[Mapping[str, float | str]] | None = None,
        sizes: Sequence[int] = (2, 4, 8),
        each: int = 2,
        value: float = 4.0,
        seed: int = 0,
    ):
        if settings is None and (not sizes or min(*sizes, each) < 1 or not value > 0):
            raise InputError(
                "random settings need study.sizes and study.each of at least 1 and a positive study.value, got "
                f"{list(sizes)}, {each} and {value}."
            )
        self.given, self.sizes, self.each, self.value, self.seed = settings, sizes, each, value, seed

    def requests(self) -> dict[str, Request]:
        names = self.subject.attributes
        self.settings = self._random() if self.given is None else [self._read(setting) for setting in self.given]
        requests = {}
        for method, guidance in self.methods().items():
            for s, setting in enumerate(self.settings):
                places = list(setting)
                y = self.subject.y.clone()
                y[:, places] = torch.tensor(list(setting.values()))
                free = torch.ones(len(names), dtype=torch.bool)
                free[places] = False
                for mode in _MODES:
                    requests[f"{method}_{s}_{mode}"] = Request(
                        guidance, self.subject.names, self.seeds().squeeze(1), y, free if mode == "free" else None
                    )
        if not requests:
            raise InputError("`methods` and `study.settings` must name what is compared.")
        return requests

    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        rows, pictures = [], []
        for method in self.methods():
            for s, setting in enumerate(self.settings):
                for mode in _MODES:
                    images = samples[f"{method}_{s}_{mode}"].images
                    rows.append({"guidance": method, **self._row(s, setting, mode), **self._success(setting, images)})
            pictures.append(self._pictures(method, samples))
        sizes = sorted({row["attributes_set"] for row in rows})
        entries = [
            self._mean([r for r in rows if (r["guidance"], r["others"], r["attributes_set"]) == (method, mode, size)])
            for method in self.methods()
            for mode in _MODES
            for size in sizes
        ]
        prefix = self.subject.most_trusted
        by = f"the {self.subject.classifier(prefix)}"
        bars = {
            f"{e['guidance']}, others {e['others']}, {name}": [
                next(
                    x[f"{prefix}{key}"]
                    for x in entries
                    if (x["guidance"], x["others"], x["attributes_set"]) == (e["guidance"], e["others"], size)
                )
                for size in sizes
            ]
            for e in entries
            for name, key in (("each", "edit_success"), ("all at once", "joint_success"))
        }
        chart = Bars("success", f"attributes as set, by {by}", [f"{size} set" for size in sizes], bars)
        table = Table("table", self._title(), self._columns(), entries)
        settings = Table("settings", "Each setting", self._columns() | {"setting": "setting"}, rows)
        verdicts = [
            f"{e['guidance']}, {e['attributes_set']} attributes set, others {e['others']}: "
            f"{100 * e[f'{prefix}edit_success']:.1f} % are as set, all at once in "
            f"{100 * e[f'{prefix}joint_success']:.1f} % of samples, by {by}."
            for e in entries
        ]
        return Findings(self._title(), self._compared(), entries, verdicts, [table, settings, chart, *pictures])

    def _title(self) -> str:
        return f"Several attributes at once: {len(self.settings)} settings, {len(self.subject.names)} held-out images"

    def _compared(self) -> str:
        return (
            "Attributes are set together, the other logits kept as in each held-out image, or left free; an image is "
            "drawn from noise. 'Each' is the share of the set attributes that a sample has as set, 'all at once' the "
            "share of samples that have all of them so, 'others changed' how many of the other attributes differ from "
            "the held-out image, which free ones are not asked to keep."
        )

    def _columns(self) -> dict[str, str]:
        columns = {"guidance": "guidance", "attributes_set": "set", "others": "others"}
        for prefix, by in (("", ""), ("judge_", "judge: ")):
            if prefix in self.subject.networks:
                columns |= {
                    f"{prefix}edit_success": f"{by}each %",
                    f"{prefix}joint_success": f"{by}all at once %",
                    f"{prefix}side_effects": f"{by}others changed",
                }
        return columns

    def _read(self, setting: Mapping[str, float | str]) -> dict[int, float]:
        if not setting or not isinstance(setting, Mapping):
            raise InputError(f"study.settings is a list of {{Attribute: value, ...}}; one of them is {setting!r}.")
        names = self.subject.attributes
        return {attribute_index(name, names): as_logit(name, value) for name, value in setting.items()}

    def _random(self) -> list[dict[int, float]]:
        generator = torch.Generator().manual_seed(self.seed)
        known = len(self.subject.attributes)
        settings = []
        for size in self.sizes:
            for _ in range(self.each):
                image = torch.randint(len(self.subject.labels), (), generator=generator)
                places = torch.randperm(known, generator=generator)[:size].sort().values.tolist()
                signs = 2 * self.subject.labels[image] - 1
                settings.append({k: self.value * signs[k].item() for k in places})
        return settings

    def _row(self, s: int, setting: dict[int, float], mode: str) -> dict[str, Any]:
        named = ", ".join(f"{self.subject.attributes[k]} {value:+g}" for k, value in setting.items())
        return {"number": s, "setting": named, "attributes_set": len(setting), "others": mode}

    def _success(self, setting: dict[int, float], images: torch.Tensor) -> dict[str, float]:
        places = list(setting)
        on = torch.tensor([value > 0 for value in setting.values()])
        found = {}
        for prefix, y in self.subject.logits(images).items():
            right = (y[:, places] > 0) == on
            differ = (y > 0) != (self.subject.seen[prefix] > 0)
            others = differ.sum(1) - differ[:, places].sum(1)
            found[f"{prefix}edit_success"] = right.double().mean().item()
            found[f"{prefix}joint_success"] = right.all(1).double().mean().item()
            found[f"{prefix}side_effects"] = others.double().mean().item()
        return found

    @staticmethod
    def _mean(rows: list[dict]) -> dict[str, Any]:
        entry = {key: rows[0][key] for key in ("guidance", "attributes_set", "others")}
        keys = [key for key, value in rows[0].items() if isinstance(value, float)]
        return entry | {key: sum(row[key] for row in rows) / len(rows) for key in keys}

    def _pictures(self, method: str, samples: Mapping[str, Samples]) -> Pictures:
        """The first images with each setting."""
        shown = [s % len(self.subject.names) for s in range(len(self.settings))]
        rows = {"held-out": self.subject.images[shown]}
        for mode in _MODES:
            rows[f"others {mode}"] = torch.stack(
                [samples[f"{method}_{s}_{mode}"].images[image] for s, image in enumerate(shown)]
            )
        captions = [self._caption(setting) for setting in self.settings]
        return Pictures(f"settings_{method}", f"Several attributes set at once, by {method}", rows, captions)

    def _caption(self, setting: dict[int, float]) -> str:
        names = [f"{'+' if v > 0 else '−'} {self.subject.attributes[k].replace('_', ' ')}" for k, v in setting.items()]
        return "\n".join(names)
