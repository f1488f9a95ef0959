"""The paper's ablation: which latents the pseudo-inverse uses, and which rule moves an image."""

from collections.abc import Mapping, Sequence

from spnn.errors import InputError
from spnn.evaluation.findings import Findings, Matrix
from spnn.evaluation.studies.reconstruction import Reconstruction
from spnn.evaluation.study import Request, Samples
from spnn.metrics import mean_interval

__all__ = ["Ablation"]

_CLAIMED_BEST, _CLAIMED_WORST = ("nlbp_trained", "gentle_trained"), "naive_random"


class Ablation(Reconstruction):
    """Reconstruction by ``<rule>_<latents>`` for every rule and every choice of latents, and by the other ``methods``.
    It also checks whether the order of the back-projections is the one that the paper claims: trained latents with
    NLBP, gentle or not, are best, and random latents with the naive rule are worst.

    Arguments:
        rules, latents: The two parts of the methods' names, in the order in which to show them.
        **options: See :class:`~spnn.evaluation.studies.Reconstruction`.
    """

    name = "ablation"
    title = "Ablation: {count} held-out images from y"

    def __init__(self, rules: Sequence[str], latents: Sequence[str], **options):
        super().__init__(**options)
        self.rules, self.latents = rules, latents
        self.compared = [[f"{rule}_{latent}" for rule in rules] for latent in latents]

    def requests(self) -> dict[str, Request]:
        missing = [name for row in self.compared for name in row if name not in self.config.methods]
        if missing:
            raise InputError(f"the ablation compares every rule with all latents; `methods` lacks {missing}.")
        return super().requests()

    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        findings = super().conclude(samples)
        scores = {entry["guidance"]: entry for entry in findings.entries}
        key = f"{self.subject.most_trusted}agreement"
        values = [[scores[name][key] for name in row] for row in self.compared]
        title = f"agreement by the {self.subject.judged_by}, %"
        matrix = Matrix("matrix", title, [f"r {latents}" for latents in self.latents], self.rules, values)
        findings.parts.insert(1, matrix)
        findings.verdicts[:0] = self._order(scores, samples)
        return findings

    def _order(self, entries: dict[str, dict], samples: Mapping[str, Samples]) -> list[str]:
        """Sentences on whether each classifier confirms the paper's order, and which differences are beyond chance."""
        names = [name for row in self.compared for name in row]
        count = len(self.subject.names)
        right = {name: self.subject.right(self.subject.views(samples[name].images[:count])) for name in names}
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
            of_each = {name: masks[prefix].double().mean(1) for name, masks in right.items()}
            lows = {
                name: mean_interval(of_each[best] - of_each[name], resamples=self.subject.resamples)[0].item()
                for name in names
                if name != best
            }
            for words, names_ in (
                ("only within chance", [shares[name] for name, low in lows.items() if not low > 0]),
                ("beyond chance", [shares[name] for name, low in lows.items() if low > 0]),
            ):
                if names_:
                    said.append(f"By {by}, {best} is better {words} (95 %) than {', '.join(names_)}.")
        return said
