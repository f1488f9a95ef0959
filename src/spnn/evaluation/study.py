"""What a study is: samples that it asks for, and what it finds in them."""

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import DictConfig
from torch import Tensor

from spnn.configs import instantiate
from spnn.diffusion.guidance import Guidance
from spnn.diffusion.sampler import Sampler
from spnn.errors import InputError, choice
from spnn.evaluation.findings import Findings, Part, Table, with_values
from spnn.evaluation.subject import Subject
from spnn.sampling.generate import Request, seeds
from spnn.signatures import parameters

__all__ = ["Request", "Samples", "Study"]


@dataclass(frozen=True)
class Samples:
    """What came of a request.

    Attributes:
        images: [N, C, H, W].
        outputs: The operator's outputs along the trajectory, [N, frames, K], if they were asked for.
        seconds: How long it took; None where some were there from an interrupted evaluation.
    """

    images: Tensor
    outputs: Tensor | None
    seconds: float | None

    @property
    def seconds_per_image(self) -> float | None:
        """How long an image took, if that is known."""
        return None if self.seconds is None else self.seconds / len(self.images)


class Study(ABC):
    """A study. Its options are the arguments of its class, in ``conf/study/<name>.yaml``; those that all studies share
    are in ``conf/evaluate.yaml``. A subclass implements :meth:`requests` and :meth:`conclude`.
    """

    name: ClassVar[str]
    """Of the folder that its results go to."""

    def begin(self, subject: Subject, config: DictConfig) -> None:
        """Take what is studied, and the options that all studies share."""
        self.subject, self.config = subject, config
        self.guidances = {name: instantiate(guidance) for name, guidance in (config.methods or {}).items()}

    def sampler(self, **options: Any) -> Sampler:
        """The sampler that the config names, with other options.

        Raises:
            InputError: If it has no such option.
        """
        known, takes_more = parameters(pkgutil.resolve_name(self.config.sampler._target_))
        if unknown := [name for name in options if name not in known and not takes_more]:
            raise InputError(f"the sampler has no option {unknown[0]!r}{choice(unknown[0], sorted(known))}.")
        return instantiate(self.config.sampler, schedule=self.subject.models.prior.schedule, **options)

    def methods(self) -> dict[str, Callable[..., Guidance | None]]:
        """The guidances that are compared."""
        return self.guidances

    def seeds(self, copies: int = 1) -> Tensor:
        """Seeds of ``copies`` samples of each held-out image, [N, copies]: all methods start from the same noise."""
        return seeds(self.config.seed, len(self.subject.names), copies)

    @abstractmethod
    def requests(self) -> dict[str, Request]:
        """What is to be sampled: name to request. The same in every process.

        Raises:
            InputError: If an option can't be met; nothing is written then.
        """

    @abstractmethod
    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        """What the samples show. Called in one process only."""

    def findings(
        self,
        title: str,
        compared: str,
        columns: dict[str, str],
        entries: list[dict],
        verdicts: list[str],
        parts: Sequence[Part],
    ) -> Findings:
        """Findings whose first part is a table of the entries, but for columns that no entry has."""
        table = Table("table", title, with_values(columns, entries), entries)
        return Findings(title, compared, entries, verdicts, [table, *parts])
