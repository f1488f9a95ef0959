"""The paper's ablation: which latents the pseudo-inverse takes, and by which rule an image is moved."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from spnn.errors import InputError
from spnn.evaluation.findings import Findings, Matrix
from spnn.evaluation.studies.reconstruction import Reconstruction
from spnn.evaluation.study import Request, Samples
from spnn.metrics import mean_interval

__all__ = ["Ablation"]

_CLAIMED_BEST, _CLAIMED_WORST = ("nlbp_trained", "gentle_trained"), "naive_random"


class Ablation(Reconstruction):
    """Reconstruction by ``<rule>_<latents>`` for every rule and latents, and by the other ``methods``; and whether the
    order is the one that the paper claims: trained latents with NLBP, gentle or not, best of the back-projections, and
    random ones with the naive rule worst.

    Arguments:
        rules, latents: Words of the methods' names, in the order to show them.
        **options: See :class:`~spnn.evaluation.studies.Reconstruction`.
    """

    name = "ablation"

    def __init__(self, rules: Sequence[str], latents: Sequence[str], **options):
        super().__init__(**options)
        self.rules, self.latents = rules, latents

    def requests(self) -> dict[str, Request]:
        missing = [name for row in self._names() for name in row if name not in self.config.methods]
        if missing:
            raise InputError(f"the ablation compares every rule with all latents; `methods` lacks {missing}.")
        return super().requests()

    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        findings = super().conclude(samples)
        by_name = {entry["guidance"]: entry for entry in findings.entries}
        prefix = self.subject.most_trusted
        by = self.subject.classifier(prefix)
        values = [[by_name[name][f"{prefix}agreement"] for name in row] for row in self._names()]
        title = f"agreement by the {by}, %"
        matrix = Matrix("matrix", title, [f"r {latents}" for latents in self.latents], self.rules, values)
        findings.parts.insert(1, matrix)
        findings.verdicts[:0] = self._order(by_name, samples)
        return findings

    def _names(self) -> list[list[str]]:
        """Methods' names: [latents][rules]."""
        return [[f"{rule}_{latents}" for rule in self.rules] for latents in self.latents]

    def _title(self) -> str:
        return f"Ablation: {len(self.subject.names)} held-out images from their attributes"

    def _order(self, entries: dict[str, dict], samples: Mapping[str, Samples]) -> list[str]:
        """Say whether the order is the paper's, by each classifier, and which differences are beyond chance."""
        names = [name for row in self._names() for name in row]
        right = {name: self._right(samples[name].images) for name in names}
        said = []
        for prefix in reversed(list(self.subject.networks)):
            by = f"the {self.subject.classifier(prefix)}"
            scores = {name: entries[name][f"{prefix}agreement"] for name in names}
            best, worst = max(scores, key=scores.__getitem__), min(scores, key=scores.__getitem__)
            shares = {name: f"{name} ({100 * score:.1f} %)" for name, score in scores.items()}
            claims = (best in _CLAIMED_BEST, worst == _CLAIMED_WORST)
            order = ("another", "not quite as the paper claims", "as the paper claims")[sum(claims)]
            said.append(
                f"The order by {by} is {order}: of the back-projections {shares[best]} is best, where the paper has "
                f"trained latents with NLBP, and {shares[worst]} worst, where it has random ones with the naive rule."
            )
            beyond, within = [], []
            for name in names:
                if name != best:
                    difference = right[best][prefix] - right[name][prefix]
                    low, _ = mean_interval(difference, resamples=self.subject.resamples).tolist()
                    (beyond if low > 0 else within).append(shares[name])
            if within:
                said.append(f"By {by}, {best} is better only within chance (95 %) than {', '.join(within)}.")
            if beyond:
                said.append(f"By {by}, {best} is better beyond chance (95 %) than {', '.join(beyond)}.")
        return said

    def _right(self, images: Tensor) -> dict[str, Tensor]:
        """The share of each image's attributes that agree, by each classifier, [N]."""
        count = len(self.subject.names)
        right = self.subject.right(self.subject.views(images[:count]))
        return {prefix: mask.double().mean(1) for prefix, mask in right.items()}
