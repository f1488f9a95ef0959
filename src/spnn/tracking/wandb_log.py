"""Weights & Biases, through Lightning's logger: it never prompts, never waits, and continues the run that it began.

Each folder (a stage's, a sampling's) is one W&B run, whose id is kept in the folder, in ``wandb.json``. W&B's own step
is the optimiser's step; steps that are made again after an interruption have the same numbers, and W&B keeps the first.

Importing W&B takes as long as a short command, so it is imported only when it is used.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from spnn.errors import InputError
from spnn.processes import rank
from spnn.tracking.harmless import harmless, say_once
from spnn.tracking.tracker import Tracker, kept_id, run_title

__all__ = ["WandbLog"]

log = logging.getLogger(__name__)

_MODES = (None, "online", "offline", "disabled")


class WandbLog(WandbLogger, Tracker):
    """A W&B run.

    Arguments:
        save_dir: The folder that the run is for; W&B writes to ``wandb/`` in it.
        project, entity: The project, and the user or team, in W&B.
        mode: ``online``, ``offline`` or ``disabled``. None for the value of ``WANDB_MODE``; if that isn't set, online
            if there is an API key and the server answers, else offline, with one message.
        artifacts: Whether a finished stage's weights are uploaded as an artifact, too.
        tags: The run's tags.
        group: What the run belongs to.
        job: The run's job type: a stage, or a sampling.

    Raises:
        InputError: If there is no such mode.
    """

    def __init__(
        self,
        save_dir: str | Path,
        *,
        project: str = "spnn",
        entity: str | None = None,
        mode: str | None = None,
        artifacts: bool = False,
        tags: Sequence[str] = (),
        group: str | None = None,
        job: str | None = None,
    ):
        mode = mode or os.environ.get("WANDB_MODE") or None
        if mode not in _MODES:
            raise InputError(f"W&B's mode is online, offline or disabled (null: online if a key is set), not {mode!r}.")
        import wandb

        super().__init__(
            name=run_title(group, job),
            project=project,
            save_dir=str(save_dir),
            id=_id_of(Path(save_dir)),
            entity=entity,
            group=group,
            job_type=job,
            tags=list(tags),
            settings=wandb.Settings(silent=True, init_timeout=float(os.environ.get("WANDB_INIT_TIMEOUT", 30))),
        )
        del self._wandb_init["anonymous"]  # W&B warns about it
        self.mode, self.artifacts = mode, artifacts

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, begun at the first use."""
        if self._experiment is None:
            import wandb
            from wandb.errors import CommError

            offline = self.mode is None and not wandb.login(prompt=False, verify=False)
            self._wandb_init |= {"config": dict(self.options), "mode": "offline" if offline else self.mode or "online"}
            try:
                run = super().experiment
            except CommError as error:
                say_once(f"W&B can't be reached ({str(error).partition(chr(10))[0]})")
                wandb.teardown()  # frees the id
                self._wandb_init["mode"] = "offline"
                run = super().experiment
            if run.offline:
                say_once("W&B logs offline" + (", for there is no API key (`wandb login` sets it)" if offline else ""))
                say_once("send offline runs by `wandb sync <folder>`; the folders: find outputs -name 'offline-run-*'")
            elif run.url:
                log.info("W&B: %s", run.url)
        return self._experiment

    @rank_zero_only
    @harmless
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.experiment.log(dict(metrics) if step is None else {**metrics, "trainer/global_step": step}, step=step)

    def log_picture(self, name: str, path: Path, step: int | None = None) -> None:
        self.log_image(name, [str(path)], step)

    def log_table(  # type: ignore[override]  # as a tracker's, not as Lightning's
        self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        import wandb

        cells = [[wandb.Image(str(cell)) if isinstance(cell, Path) else cell for cell in row] for row in rows]
        super().log_table(name, list(columns), cells)

    def log_bars(self, name: str, values: Mapping[str, float | None]) -> None:
        import wandb

        table = wandb.Table(columns=["name", "value"], data=[list(pair) for pair in values.items()])
        self.experiment.log({name: wandb.plot.bar(table, "name", "value", title=name)})

    def log_weights(self, name: str, files: Sequence[Path], metrics: Mapping[str, float]) -> None:
        import wandb

        artifact = wandb.Artifact(name, type="model", metadata=dict(metrics))
        for path in files:
            artifact.add_file(str(path))
        self.experiment.log_artifact(artifact)

    @rank_zero_only
    @harmless
    def finish(self, code: int = 0) -> None:
        """End the run, so that the next one in this process is a new one; ``code`` 1 marks it as failed."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=code)
            self._experiment = None


def _id_of(folder: Path) -> str:
    path = folder / "wandb.json"
    return kept_id(path) if path.exists() or rank() == 0 else "of_another_process"
