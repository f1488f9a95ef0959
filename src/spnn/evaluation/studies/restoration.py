"""Restoration: restore held-out images from measurements, and compare several methods at equal effort."""

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from spnn.configs import blanks, instantiate
from spnn.errors import InputError, choice, counted
from spnn.evaluation.contest import Contest, best, curves, guided, within_interval, words
from spnn.evaluation.findings import Findings, Lines, Pictures
from spnn.evaluation.study import Request, Samples, Study
from spnn.evaluation.subject import ENOUGH
from spnn.metrics import mean_interval, measurement_metrics, psnr
from spnn.outputs import outputs_of
from spnn.sampling.models import Models, need_operator, with_operator
from spnn.sampling.tasks import check_noise, picture_of, with_noise
from spnn.signatures import parameters

__all__ = ["Restoration"]

log = logging.getLogger(__name__)

_COLUMNS = {
    "guidance": "guidance",
    "steps": "steps",
    "evaluations": "evaluations",
    "gradients": "gradients through it",
    "kept_mib": "kept for them, MiB",
    "psnr": "PSNR",
    "psnr_interval": "95 % CI",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "rms": "|g(x) - y|",
    "judge_frechet": "Fréchet",
    "saturated": "black or white %",
    "fine_energy_ratio": "fine detail, x real",
    "seconds_per_image": "s an image",
}
_DISTANCE = "Fréchet distance of the judge's outputs from real images'"


@dataclass(frozen=True)
class _Problem:
    """A degradation: the models with its operator, and the measurements of the held-out images, [N, ...]."""

    models: Models
    y: Tensor


class Restoration(Study):
    """Compares guidances on known degradations, linear and nonlinear, at equal effort and from the same noise.

    A method with an option ``noise`` is given the noise of the measurement, if there is any; a method that needs noise
    is left out if there is none.

    Arguments:
        budgets, methods, samplers: See :class:`~spnn.evaluation.contest.Contest`.
        only: The config's problems to use; None for all that fit the images.
        noise: The standard deviation of the normal noise added to measurements.
        copies: The number of samples of each image; only the one that meets the measurement best counts.
        options: Problem to method to the method's options for this problem.

    Raises:
        InputError: If a number is out of range, or there is no such problem, method or option.
    """

    name = "restoration"

    def __init__(
        self,
        budgets: Sequence[int] = (100,),
        methods: Sequence[str] | None = None,
        samplers: Mapping[str, Mapping[str, Any]] | None = None,
        only: Sequence[str] | None = None,
        noise: float = 0.0,
        copies: int = 1,
        options: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    ):
        check_noise(noise, "study.noise")
        if isinstance(copies, bool) or not isinstance(copies, int) or copies < 1:
            raise InputError(f"study.copies must be a whole number of at least 1, got {copies!r}.")
        every = {} if options is None else options
        if not isinstance(every, Mapping) or not all(
            isinstance(of, Mapping) and all(isinstance(own, Mapping) for own in of.values()) for of in every.values()
        ):
            raise InputError(f"study.options is {{problem: {{method: {{option: value}}}}}}, got {options!r}.")
        self.contest = Contest(budgets, methods, samplers)
        self.only, self.noise, self.copies, self.options = only, noise, copies, every

    def requests(self) -> dict[str, Request]:
        names = [name for name in self.contest.names(self) if self.noise or not self._is_of_noise(name)]
        if not names:
            raise InputError(f"{', '.join(self.contest.names(self))} is for measurements with noise: set study.noise.")
        self.problems, self.plans, requests = self._problems(), {}, {}
        copies = range(self.copies)
        samples = [f"{name}_{copy}" if copy else name for name in self.subject.names for copy in copies]
        seeds = self.seeds(self.copies).flatten()
        for problem, posed in self.problems.items():
            y = posed.y.repeat_interleave(self.copies, 0)
            for name in names:
                guidance = self._told(problem, name)
                for budget, plan in self.contest.plans(self, name, guidance, posed.models, y[:1]).items():
                    self.plans[problem, name, budget] = plan
                    operator = posed.models.operator
                    request = Request(guidance, samples, seeds, y, sampler=plan.sampler, operator=operator)
                    key = _key(problem, name, budget)
                    if key in requests:
                        raise InputError(f"two pairs of a problem and a method are called {key}: rename one of them.")
                    requests[key] = request
        return requests

    def _problems(self) -> dict[str, _Problem]:
        """The problems: name to operator and measurements."""
        posed = {key: one for key, one in (OmegaConf.select(self.config, "problems") or {}).items() if one is not None}
        only = list(posed if self.only is None else self.only)
        if unknown := [name for name in only if name not in posed]:
            raise InputError(f"study.only names {unknown}; `problems` has {', '.join(posed)}.")
        if not only:
            raise InputError("`problems` names no operator: add one by +operator@problems.mine=inpainting.")
        for problem, own in self.options.items():
            if problem not in posed or (unknown := [name for name in own if name not in self.guidances]):
                what = f"no problem {problem!r}" if problem not in posed else f"no method {unknown[0]!r}"
                raise InputError(f"study.options: there is {what}. It is {{problem: {{method: {{option: value}}}}}}.")
            for name in own:
                self._told(problem, name)  # fails now, even if the method isn't compared
        found, shape = {}, self.subject.models.prior.image_shape
        for name in only:
            if "_target_" not in posed[name]:
                raise InputError(f"problems.{name} is no known degradation: the trained network is for study=arena.")
            try:
                operator = instantiate(posed[name], **blanks(posed[name], image_shape=shape))
                models = with_operator(self.subject.models, operator)
            except InputError as error:
                if self.only is not None:
                    raise InputError(f"problems.{name}: {error}") from error
                log.warning("%s is left out: %s", name, error)
                continue
            y = outputs_of(operator, self.subject.images)
            found[name] = _Problem(models, with_noise(y, self.noise, self.config.seed) if self.noise else y)
        if not found:
            raise InputError(
                "none of the config's problems fits the run's images: give one by +operator@problems.mine=…"
            )
        return found

    def _known(self, name: str) -> Mapping[str, inspect.Parameter]:
        """The options of a guidance."""
        return parameters(getattr(self.guidances[name], "func", self.guidances[name]))[0]

    def _is_of_noise(self, name: str) -> bool:
        """Whether a guidance only works for measurements with noise."""
        return "noise" in (known := self._known(name)) and known["noise"].default is inspect.Parameter.empty

    def _told(self, problem: str, name: str) -> Callable:
        """The guidance with its options for the problem, and with the noise if it takes that."""
        guidance, known = self.guidances[name], self._known(name)
        own = self.options.get(problem, {}).get(name, {})
        if unknown := [option for option in own if option not in known]:
            raise InputError(f"study.options.{problem}.{name}: no option {unknown[0]!r}{choice(unknown[0], known)}.")
        noise = {"noise": self.noise} if self.noise and "noise" in known else {}
        return partial(guidance, **{**noise, **own}) if noise or own else guidance

    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        entries, verdicts, tables, lines, pictures = [], [], [], [], []
        for problem, posed in self.problems.items():
            chosen, own = {}, []
            for (of, name, budget), plan in self.plans.items():
                if of == problem:
                    found = samples[_key(problem, name, budget)]
                    images, y = self._chosen(posed, found.images)
                    chosen[name, budget] = images
                    entry = {"problem": problem, "guidance": name, "budget": budget, "steps": plan.steps}
                    entry |= vars(plan.cost) | self._entry(posed, images, y)
                    own.append(entry | {"seconds_per_image": found.seconds_per_image})
            entries += own
            verdicts.append(self._verdict(problem, own))
            tables += self.contest.tables(own, _COLUMNS, {"psnr": "PSNR", "ssim": "SSIM"}, problem)
            if series := curves(own, "judge_frechet", "psnr"):
                lines.append(Lines(f"pareto_{problem}", f"{words(problem)}: PSNR, dB", _DISTANCE, series))
            pictures.append(self._picture(problem, posed, chosen))
        title = f"Restoration of {counted(len(self.subject.names), 'held-out image')}"
        return Findings(title, self._compared(), entries, verdicts, [*tables, *pictures, *lines])

    def _chosen(self, posed: _Problem, images: Tensor) -> tuple[Tensor, Tensor]:
        """The copy of each image that meets the measurement best, and its outputs."""
        y = outputs_of(need_operator(posed.models), images)
        rms = _rms(y - posed.y.repeat_interleave(self.copies, 0)).reshape(-1, self.copies)
        best_ones = torch.arange(len(rms)) * self.copies + rms.argmin(1)
        return images[best_ones], y[best_ones]

    def _entry(self, posed: _Problem, images: Tensor, y: Tensor) -> dict[str, Any]:
        """The figures of a problem's chosen samples, whose outputs are ``y``."""
        subject, clean = self.subject, self.subject.images
        entry: dict[str, Any] = dict(measurement_metrics(y, posed.y, images, clean, download=self.config.download))
        entry["psnr_interval"] = mean_interval(psnr(images, clean), resamples=subject.resamples).tolist()
        return entry | {"rms": _rms(y - posed.y).mean().item()} | subject.realism(images)

    def _picture(self, problem: str, posed: _Problem, chosen: Mapping[tuple[str, int], Tensor]) -> Pictures:
        few, budget = min(8, self.config.shown, len(self.subject.names)), self.contest.budgets[-1]
        rows = {
            "held-out": self.subject.images[:few],
            "measured": picture_of(need_operator(posed.models), posed.y[:few]),
        }
        rows |= {name: images[:few] for (name, own), images in chosen.items() if own == budget}
        title = f"{words(problem)}, of {budget} evaluations of the prior"
        return Pictures(f"grid_{problem}", title, rows, self.subject.names[:few])

    def _verdict(self, problem: str, entries: list[dict]) -> str:
        own = guided(self.contest.largest(entries))
        aims = [
            ("psnr", "nearest to the true image is", max, "{:.2f} dB"),
            ("rms", "nearest to the measurement", min, "{:.2g}"),
            ("judge_frechet", "most like real images", min, "{:.2g}"),
            ("seconds_per_image", "quickest", min, "{:.2g} s an image"),
        ]
        left_out = {"rms": self.noise > 0, "judge_frechet": len(self.subject.names) < ENOUGH}
        said = best(own, [aim for aim in aims if not left_out.get(aim[0])])
        return f"{words(problem)}: {said}.{within_interval(own, 'psnr')}"

    def _compared(self) -> str:
        noise = f" with normal noise of deviation {self.noise:g}" if self.noise else ""
        kept = f" Of {self.copies} samples, the one counts that meets the measurement best." if self.copies > 1 else ""
        return (
            f"Each of {len(self.subject.names)} held-out images is measured by an operator{noise}, and restored from "
            "the measurement alone. All methods start from the same noise, and may ask the prior as often for an "
            f"image, the budget; gradients through the prior come besides.{kept} PSNR, in dB, SSIM and LPIPS (where "
            "images are large enough and its network is on disk) compare with the held-out image; |g(x) - y| is the "
            "root mean square over outputs, in the unit of the measurement; where that has noise, it is best near the "
            "noise. Fréchet distances, in the judge's outputs, are of equally many images; of fewer than 50 they are "
            "mostly chance."
        )


def _key(problem: str, name: str, budget: int) -> str:
    """The name of a request."""
    return f"{problem}_{name}_{budget}"


def _rms(difference: Tensor) -> Tensor:
    """Root mean squares of rows, [N, ...] -> [N]."""
    return difference.flatten(1).square().mean(1).sqrt()
