"""A job of a sweep: what defines it, and the record of how it ended, which the job itself writes.

``job.json`` in a job's folder is ::

    {"status": "running" | "finished" | "failed", "error": null, "metrics": {"result": 0.3},
     "overrides": ["lr=0.1", "seed=1"], "config": {...}}

The job writes it in its own process, whichever launcher has started it, so the record exists even if the sweep is
killed before the launcher returns. While it runs, the job holds a lock next to its folder, which the system releases
however the process ends.
"""

import hashlib
import json
import logging
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import CompactHydraException
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf

__all__ = ["AGAIN", "Job", "Recorded", "folder_name", "is_first_process", "placed", "read"]

log = logging.getLogger(__name__)

AGAIN = "RESUMING_SWEEPS_JOB"
"""Tells the processes that a job starts with its own command line, as Lightning does for more devices, which job they
belong to."""

# Variables that Lightning leaves in the environment.
_OF_LIGHTNING = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_RANKS = ("LOCAL_RANK", "SLURM_PROCID", "SUBMITIT_LOCAL_GLOBALID")


def folder_name(overrides: str, kept: str = "") -> str:
    """A folder's name made from overrides with commas between them. It has only letters, digits, dots, dashes and
    underscores, so it needs no quotes on a command line. A long name is cut, and ends in a hash.

    Arguments:
        overrides: Such as ``lr=0.1,seed=1``.
        kept: Which of ``=`` and ``,`` to keep, too.
    """
    text = overrides if kept else overrides.replace("=", "-").replace(",", "__")
    name = re.sub(rf"[^\w.{kept}+-]+", "_", text).strip("_") or "defaults"
    return f"{name[:100]}-{hashlib.sha256(overrides.encode()).hexdigest()[:12]}" if len(name) > 120 else name


def placed(overrides: Sequence[str], sweep: str | Path, job: str) -> list[str]:
    """A job's overrides, and those that tell Hydra where its folder is."""
    places = {"hydra.sweep.dir": str(sweep), "hydra.sweep.subdir": job}
    return [*overrides, *(f"{key}={QuotedString(text, Quote.single).with_quotes()}" for key, text in places.items())]


def is_first_process() -> bool:
    """Whether this is the one process of a job that writes; Slurm, submitit and Lightning may start several."""
    return not any(int(os.environ.get(name) or 0) for name in _RANKS)


@dataclass
class Job:
    """What defines a job.

    Arguments:
        overrides: The overrides of its task, in any order.
        config: Its composed config, with interpolations unresolved.
        whole: Whether a different config makes it a different job; if False, only different overrides do.
    """

    overrides: list[str]
    config: dict[str, Any]
    whole: bool

    @classmethod
    def of(cls, config: DictConfig, overrides: Sequence[str], whole: bool) -> "Job":
        """The job of a composed config; Hydra's own part of the config doesn't count."""
        content = _plain(OmegaConf.to_container(config))
        content.pop("hydra", None)
        return cls(list(overrides), content, whole)

    @property
    def key(self) -> str:
        """A hash that is the same for the same job."""
        parts = [sorted(self.overrides), self.config if self.whole else None]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def is_of(self, record: Mapping[str, Any]) -> bool:
        """Whether a record belongs to this job."""
        return Job(record["overrides"], record["config"], self.whole).key == self.key

    def is_done(self, record: Mapping[str, Any] | None) -> bool:
        """Whether a record says that this job is finished."""
        return record is not None and self.is_of(record) and record["status"] == "finished"


class Recorded:
    """A task function whose outcome is written to ``job.json``. It is a class so that the processes of any launcher can
    import it by name.

    Arguments:
        function: The task function.
        whole: As for :class:`Job`.
        rerun: Whether to run finished jobs, too.
        claims: Whether a record is written at the start, so that it is clear whose the folder is. Otherwise the task
            finds its folder without a record, and may look there for its earlier results.
    """

    def __init__(self, function: TaskFunction, whole: bool, rerun: bool, claims: bool):
        self.function, self.whole, self.rerun, self.claims = function, whole, rerun, claims

    def __call__(self, config: DictConfig) -> Any:
        if not is_first_process():
            return self.function(config)
        hydra = HydraConfig.get()
        folder, job = Path(hydra.runtime.output_dir), Job.of(config, hydra.overrides.task, self.whole)
        with _alone(folder):
            earlier = read(folder)
            if earlier and job.is_done(earlier) and not self.rerun:  # another process did it while this one waited
                return earlier["metrics"].get("result", earlier["metrics"])
            _set_aside(folder, earlier)
            if self.claims:
                _write(folder, job, "running")
            try:
                with _known_to_processes(hydra.sweep.dir, placed(job.overrides, hydra.sweep.dir, hydra.sweep.subdir)):
                    result = self.function(config)
            except Exception as error:
                readable = isinstance(error, CompactHydraException)
                log.error("failed: %s", error, exc_info=None if readable else error)
                message = str(error) if readable and str(error) else f"{type(error).__name__}: {error}"
                _write(folder, job, "failed", error=message)
                raise RuntimeError(message) from None  # a class that every process can unpickle
            metrics = _plain(result)
            metrics = metrics if isinstance(metrics, dict) else {} if result is None else {"result": metrics}
            _write(folder, job, "finished", metrics=metrics)
            return result


def read(folder: Path) -> dict[str, Any] | None:
    """The record in a job's folder; None if there is none.

    Raises:
        CompactHydraException: If it can't be read.
    """
    path = folder / "job.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["status"] not in ("running", "finished", "failed"):
            raise ValueError(f"its status is {record['status']!r}")
        return {key: record[key] for key in ("status", "error", "metrics", "overrides", "config")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CompactHydraException(
            f"{path} can't be read as the record of a job ({type(error).__name__}: {error}). It was left as it is: "
            "repair it, or move it away, and the job is run again."
        ) from None


def _set_aside(folder: Path, record: Mapping[str, Any] | None) -> None:
    """Remove an earlier record; one with a result is kept, with its time added to its name."""
    path = folder / "job.json"
    if record and record["status"] == "finished":
        path.rename(path.with_stem(f"job_{datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d_%H-%M-%S}"))
    path.unlink(missing_ok=True)


def _write(folder: Path, job: Job, status: str, error: str | None = None, metrics: Mapping | None = None) -> None:
    """Write the record, in one step."""
    record = {"status": status, "error": error, "metrics": metrics or {}, **vars(job)}
    del record["whole"]
    unfinished = folder / "job.json.unfinished"
    unfinished.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(folder / "job.json")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let no other process run this job; wait if one does, such as a process that a killed sweep has left behind."""
    lock = FileLock(folder.with_name(f".{folder.name}.job.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.info("another process runs this job, wait for it: %s", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _known_to_processes(sweep: str, overrides: Sequence[str]) -> Iterator[None]:
    """Tell the processes that a job starts with its own command line that they belong to this job. What they share is
    removed when the job ends; otherwise the next job in this process would think that it was started like that, too."""
    before, grouped = os.environ.copy(), _grouped()
    os.environ[AGAIN] = json.dumps([sweep, overrides])
    try:
        yield
    finally:
        for name in (AGAIN, *_OF_LIGHTNING):
            if name not in before:
                os.environ.pop(name, None)
        if grouped is None and (distributed := _grouped()):
            distributed.destroy_process_group()


def _grouped() -> Any:
    """Torch's module ``distributed`` if it has been imported and this process is in a process group, else None."""
    distributed = sys.modules.get("torch.distributed")
    return distributed if distributed and distributed.is_available() and distributed.is_initialized() else None


def _plain(value: Any) -> Any:
    """A value for JSON: NumPy's and Torch's numbers become Python's, NaN and infinity become None, the rest text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        try:
            value = value.item()
        except (TypeError, ValueError, RuntimeError):
            return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
