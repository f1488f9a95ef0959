"""The base of studies: the samples that a study requests, and what it finds in them."""

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
    """The samples of a request.

    Attributes:
        images: [N, C, H, W].
        outputs: The operator's outputs along the trajectory, [N, frames, K], if they were requested.
        seconds: How long sampling took; None if some samples are from an interrupted evaluation.
    """

    images: Tensor
    outputs: Tensor | None
    seconds: float | None

    @property
    def seconds_per_image(self) -> float | None:
        """Seconds for an image, if known."""
        return None if self.seconds is None else self.seconds / len(self.images)


class Study(ABC):
    """A study. Its options are the arguments of its class, in ``conf/study/<name>.yaml``; options that all studies
    share are in ``conf/evaluate.yaml``. A subclass implements :meth:`requests` and :meth:`conclude`.
    """

    name: ClassVar[str]
    """The name of the folder for its results."""

    def begin(self, subject: Subject, config: DictConfig) -> None:
        """Set the subject, and the options that all studies share."""
        self.subject, self.config = subject, config
        self.guidances = {name: instantiate(guidance) for name, guidance in (config.methods or {}).items()}

    def sampler(self, **options: Any) -> Sampler:
        """The sampler that the config names, with these options changed.

        Raises:
            InputError: If it has no such option.
        """
        known, takes_more = parameters(pkgutil.resolve_name(self.config.sampler._target_))
        if unknown := [name for name in options if name not in known and not takes_more]:
            raise InputError(f"the sampler has no option {unknown[0]!r}{choice(unknown[0], sorted(known))}.")
        return instantiate(self.config.sampler, schedule=self.subject.models.prior.schedule, **options)

    def methods(self) -> dict[str, Callable[..., Guidance | None]]:
        """The guidances to compare."""
        return self.guidances

    def seeds(self, copies: int = 1) -> Tensor:
        """Seeds for ``copies`` samples of each held-out image, [N, copies]; all methods start from the same noise."""
        return seeds(self.config.seed, len(self.subject.names), copies)

    @abstractmethod
    def requests(self) -> dict[str, Request]:
        """The samples to draw: name to request. They must be the same in every process.

        Raises:
            InputError: If an option can't be met; nothing has been written then.
        """

    @abstractmethod
    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        """Draw conclusions from the samples. Called in one process only."""

    def findings(
        self,
        title: str,
        compared: str,
        columns: dict[str, str],
        entries: list[dict],
        verdicts: list[str],
        parts: Sequence[Part],
    ) -> Findings:
        """Findings whose first part is a table of the entries, without columns in which no entry has a value."""
        table = Table("table", title, with_values(columns, entries), entries)
        return Findings(title, compared, entries, verdicts, [table, *parts])
