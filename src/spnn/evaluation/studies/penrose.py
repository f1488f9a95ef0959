"""Whether the pseudo-inverse obeys its laws for each choice of latents, and how natural it is. Nothing is sampled."""

import copy
from collections.abc import Mapping, Sequence

import torch

from spnn.evaluation.findings import Bars, Findings
from spnn.evaluation.study import Request, Samples, Study
from spnn.latents import Pinv, with_pinv
from spnn.metrics import natural_norm, penrose_errors
from spnn.settings import working_device

__all__ = ["Penrose"]

_PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
_BATCH = 50
_COLUMNS = {
    "pinv": "latents",
    "precision": "precision",
    "g_pinv_g": "g g† g = g",
    "g_pinv_g_relative": "relative",
    "pinv_g_pinv": "g† g g† = g†",
    "pinv_g_pinv_relative": "relative",
    "g_pinv": "g g† = id",
    "g_pinv_relative": "relative",
    "natural": "‖G(g†(y)) − G(0)‖²",
    "natural_latents": "of it latents",
}


class Penrose(Study):
    """The errors in Penrose's laws and the natural norm of each variant of the pseudo-inverse, in two precisions. With
    higher precision, rounding errors shrink; any other error would stay.

    Arguments:
        pinv: The variants, see :mod:`spnn.latents`.
        seed: The seed for the random targets.
    """

    name = "penrose"

    def __init__(self, pinv: Sequence[Pinv] = ("trained", "random", "zero", "closed_form"), seed: int = 0):
        self.pinv, self.seed = pinv, seed

    def requests(self) -> dict[str, Request]:
        for pinv in self.pinv:  # refuses an unknown one before anything is written
            with_pinv(self.subject.operator, pinv)
        return {}

    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        entries = [self._measure(pinv, precision) for pinv in self.pinv for precision in _PRECISIONS]
        single = {entry["pinv"]: entry["natural_latents"] for entry in entries if entry["precision"] == "float32"}
        chart = Bars(
            "natural",
            "mean squared distance of g†(y)'s latents from those of G(0)",
            list(single),
            {"natural norm, latents": list(single.values())},
            percent=False,
        )
        count = len(self.subject.names)
        title = f"Penrose's laws and the natural norm, {count} images and as many targets"
        compared = (
            f"The largest errors over {count} held-out images (g g† g = g) and over as many random "
            "targets with the mean and deviation of real outputs (the others), absolute and over the largest value of "
            "the right-hand side, for each choice of the latents of the pseudo-inverse. They are zero by construction "
            "for all of them, up to rounding, which float64 makes smaller. The choices differ in how natural they are: "
            "the mean squared distance of G(g†(y)) from G(0), for y of the held-out images; the closed form has none "
            "in its latents, by definition."
        )
        return self.findings(title, compared, _COLUMNS, entries, self._verdicts(entries), [chart])

    def _measure(self, pinv: Pinv, precision: str) -> dict:
        dtype, device = _PRECISIONS[precision], working_device()
        if device.type == "mps" and dtype == torch.float64:  # mps has no double precision
            device = torch.device("cpu")
        network = copy.deepcopy(self.subject.operator).to(device, dtype)
        surjection = with_pinv(network, pinv)
        images, outputs = self.subject.images.to(device, dtype), self.subject.y.to(device, dtype)
        others = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(self.seed)).to(device, dtype)
        targets = outputs.mean(0) + outputs.std(0, correction=0) * others
        laws, natural = [], []
        for x, y, target in zip(images.split(_BATCH), outputs.split(_BATCH), targets.split(_BATCH), strict=True):
            laws.append(penrose_errors(surjection, x, target))
            natural.append(natural_norm(surjection, y, self.subject.source.image_shape))
        errors = {name: torch.cat([each[name] for each in laws]).max().item() for name in laws[0]}
        means = {name: torch.cat([each[name] for each in natural]).cpu().double().mean().item() for name in natural[0]}
        return {"pinv": pinv, "precision": precision, **errors, **means}

    def _verdicts(self, entries: list[dict]) -> list[str]:
        said = []
        for precision in _PRECISIONS:
            own = [entry for entry in entries if entry["precision"] == precision]
            worst = max(max(v for k, v in entry.items() if k.endswith("_relative")) for entry in own)
            said.append(f"In {precision}, the largest relative error of any law and any latents is {worst:.1e}.")
        ranked = sorted(own, key=lambda entry: entry["natural_latents"])
        listed = ", ".join(f"{entry['pinv']} {entry['natural_latents']:.3g}" for entry in ranked)
        said.append(f"From the most natural on, by the mean squared distance of the latents from G(0)'s: {listed}.")
        return said
