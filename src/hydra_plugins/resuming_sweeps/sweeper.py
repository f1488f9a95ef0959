"""A sweep over everything that the command line lists, which continues where it was interrupted."""

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra.utils
from filelock import FileLock, Timeout
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hydra_plugins.resuming_sweeps import _table
from hydra_plugins.resuming_sweeps._jobs import AGAIN, Job, Recorded, folder_name, is_first_process, placed, read

__all__ = ["Placed", "ResumingConf", "ResumingSweeper"]

log = logging.getLogger(__name__)


@dataclass
class ResumingConf:
    """The options of ``hydra/sweeper=resuming``."""

    _target_: str = "hydra_plugins.resuming_sweeps.sweeper.ResumingSweeper"
    _recursive_: bool = False
    max_batch_size: int | None = None
    params: dict[str, Any] | None = None
    folder: str | None = "multirun/${hydra.job.name}"
    whole_config: bool = True
    rerun: bool = False
    best: str | None = None
    table: str = "table"
    show: Any = None


ConfigStore.instance().store(group="hydra/sweeper", name="resuming", node=ResumingConf, provider="resuming_sweeps")


@dataclass
class Placed:
    """A job and its folder.

    Arguments:
        job: What defines the job.
        folder: The folder with its record.
        words: The overrides that it is launched with.
        done: Whether the job is already finished.
    """

    job: Job
    folder: Path
    words: list[str]
    done: bool


class ResumingSweeper(BasicSweeper):
    """Hydra's sweeper.

    Arguments:
        max_batch_size: The number of jobs passed to the launcher together; None for all.
        params: Options to sweep or set, in addition to the command line.
        folder: The sweep's folder, the same each time; below it, each job has a folder named after its overrides. On
            the command line, ``hydra.sweep.dir`` sets it, too. None leaves both folders to Hydra's ``hydra.sweep``,
            which must then give the same job the same folder each time.
        whole_config: Whether a finished job is run again, in another folder, if its composed config has changed since;
            otherwise only different overrides make it a new job.
        rerun: Whether to run finished jobs again, too.
        best: The metric that sorts the table, with a minus if less is better; a job that returns one number has
            the metric ``result``.
        table: The name of the table's files in the sweep's folder.
        show: Config of a function that shows the table on the screen, called with its rows as ``jobs``; see
            :data:`_table.Row`. None logs the table as Markdown.
    """

    # Set by Hydra before it calls `sweep`.
    config: DictConfig
    hydra_context: HydraContext
    launcher: Launcher

    def __init__(
        self,
        max_batch_size: int | None,
        params: Mapping[str, Any] | None,
        folder: str | None,
        whole_config: bool,
        rerun: bool,
        best: str | None,
        table: str,
        show: DictConfig | None,
    ):
        super().__init__(max_batch_size, dict(params or {}))
        self.named, self.whole_config, self.rerun = folder, whole_config, rerun
        self.best, self.table, self.show = best, table, show

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        said = any(word.startswith("hydra.sweep.dir=") for word in config.hydra.overrides.hydra)
        if self.named is not None and not said:
            with read_write(config):
                config.hydra.sweep.dir = self.named
        self.folder = Path(config.hydra.sweep.dir).absolute()
        recorded = Recorded(task_function, self.whole_config, self.rerun, claims=self.named is not None)
        super().setup(hydra_context=hydra_context, task_function=recorded, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        if AGAIN in os.environ and not is_first_process():  # this is a further process of a single job
            folder, words = json.loads(os.environ[AGAIN])
            with read_write(self.config):
                self.config.hydra.sweep.dir = folder
            return self.launcher.launch([words], initial_job_idx=0)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(self.folder / ".sweep.lock").acquire(timeout=2)
        except Timeout:
            raise CompactHydraException(
                f"another sweep is at work in {self.folder}: wait for it, or choose another folder by hydra.sweep.dir."
            ) from None
        with held:
            OmegaConf.save(self.config, self.folder / "multirun.yaml")
            parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
            rows = self._run(parser.parse_overrides([*self._parse_config(), *arguments]))
            self._conclude(rows)

    def _run(self, overrides: Sequence[Override]) -> list[_table.Row]:
        """Run the jobs that aren't done yet; return a row of the table for each job."""
        if intervals := [str(word.input_line) for word in overrides if isinstance(word.value(), IntervalSweep)]:
            raise CompactHydraException(
                f"{', '.join(intervals)}: this sweep runs all that is listed, and an interval has no end of values. "
                "List some, or search it by hydra/sweeper=resuming_optuna."
            )
        (every,) = self.split_arguments(list(overrides), None)
        places = self._place(every)
        size = self.max_batch_size or len(places)
        for start in range(0, len(places), size):
            self._launch(places[start : start + size], start)
        return [self._row(place) for place in _each_once(places)]

    def _place(self, batch: Sequence[Sequence[str]], first: int = 0) -> list[Placed]:
        """Compose jobs, numbered from ``first``, and find their folders and whether they are done.

        Raises:
            CompactHydraException: If a config can't be composed, a record can't be read, or two jobs share a folder.
        """
        found: list[Placed] = []
        jobs_of: dict[str, str] = {}
        for number, words in enumerate(batch, first):
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(words))
            with open_dict(config.hydra.job):
                config.hydra.job.num, config.hydra.job.id = number, str(number)
            job = Job.of(config, config.hydra.overrides.task, self.whole_config)
            name = _subdir(config) if self.named is None else self._own_folder(job, jobs_of)
            if jobs_of.setdefault(name, job.key) != job.key:
                raise CompactHydraException(
                    f"two jobs have the folder {self.folder / name}: hydra.sweep.subdir must tell them apart."
                )
            done = job.is_done(read(self.folder / name)) and not self.rerun
            found.append(Placed(job, self.folder / name, placed(words, self.folder, name), done))
        return found

    def _own_folder(self, job: Job, jobs_of: Mapping[str, str]) -> str:
        """The name of a job's folder: its overrides, plus a hash of its config if another job has that folder."""
        name = folder_name(",".join(sorted(job.overrides)))
        own = f"{name}-{job.key[:8]}"
        if (self.folder / own).exists():
            return own
        record = read(self.folder / name)
        if jobs_of.get(name, job.key) == job.key and (record is None or job.is_of(record)):
            return name
        if record and sorted(record["overrides"]) == sorted(job.overrides):
            changed = ", ".join(_differences(record["config"], job.config))
            log.warning("%s: its config has changed since (%s), so it is run anew, in %s", name, changed, own)
        return own

    def _launch(self, places: Sequence[Placed], first: int) -> None:
        """Run the jobs that aren't done. The others continue if one fails, or if the launcher loses one."""
        left = _each_once(place for place in places if not place.done)
        if done := len(_each_once(places)) - len(left):
            log.info("%d of %d jobs are done already", done, done + len(left))
        if not left:
            return
        try:
            self.launcher.launch([place.words for place in left], initial_job_idx=first)
        except Exception as error:
            if not any(self._row(place)["status"] in ("finished", "failed") for place in left):
                raise
            log.error("the launcher has ended early: %s", error, exc_info=error)

    def _row(self, place: Placed) -> _table.Row:
        """A job's row: its record, or its status if it has none."""
        record = read(place.folder)
        if record is None or not place.job.is_of(record):
            record = {"status": "waiting", "error": "not begun, or interrupted", "metrics": {}}
        elif record["status"] == "running":
            record["error"] = "interrupted"
        return {**record, "overrides": place.job.overrides, "folder": str(place.folder)}

    def _conclude(self, rows: Sequence[_table.Row]) -> None:
        """Write the table, show it, and name the jobs that failed.

        Raises:
            SystemExit: If a job has failed.
        """
        if not rows:
            return
        rows = _table.write(rows, self.folder / self.table, self.best)
        returned = sorted({name for row in rows for name in row["metrics"]})
        if self.best and returned and self.best.removeprefix("-") not in returned:
            known = _table.known(returned)
            log.warning("the table isn't sorted by %s, as the jobs returned only %s", self.best, known)
        if self.show is None:
            log.info("all jobs:\n%s", (self.folder / f"{self.table}.md").read_text(encoding="utf-8"))
        else:
            hydra.utils.instantiate(self.show, _partial_=True)(jobs=rows)
        log.info("comparison of %d jobs: %s", len(rows), self.folder / f"{self.table}.csv")
        if failed := [row for row in rows if row["error"]]:
            log.error("%d of %d jobs failed; the same command tries them again", len(failed), len(rows))
            for row in failed:
                log.error("%s: %s (%s)", row["name"] or "the only job", row["error"].splitlines()[0], row["folder"])
            raise SystemExit(1)


def _each_once(places: Iterable[Placed]) -> list[Placed]:
    return list({place.folder: place for place in places}.values())


def _subdir(config: DictConfig) -> str:
    """The folder of a job below its sweep's, according to Hydra's own options."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)  # `${hydra:...}` reads it
    try:
        return str(config.hydra.sweep.subdir)
    finally:
        HydraConfig.instance().cfg = before


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    """The names of the options that differ between two configs."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in before | now if before.get(key) != now.get(key) or (key in before) != (key in now)]
        return [found for key in keys for found in _differences(before.get(key), now.get(key), f"{name}.{key}")]
    return [name.removeprefix(".")]
