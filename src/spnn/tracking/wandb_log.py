"""Weights & Biases: Lightning's logger, never asking, never waiting, going on with the run that it began.

A folder (a stage's, a sampling's) is one W&B run, whose id is kept in the folder, in ``wandb.json``. W&B's own step is
the step of the optimiser; steps that are made again after an interruption are the same ones, and W&B keeps the first.

Importing W&B takes as long as a short command, so it is imported when it is used.
"""

import json
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from spnn.errors import InputError
from spnn.processes import rank
from spnn.tracking.harmless import harmless, say_once

__all__ = ["WandbLog"]

log = logging.getLogger(__name__)

_MODES = (None, "online", "offline", "disabled")


class WandbLog(WandbLogger):
    """A W&B run.

    Arguments:
        save_dir: The folder that it is of; W&B writes to ``wandb/`` in it.
        project, entity: Where it goes.
        mode: ``online``, ``offline`` or ``disabled``; None for what ``WANDB_MODE`` says, else online if there is an API
            key and the server answers, else offline, which is said once.
        artifacts: Whether a finished stage's weights are uploaded as an artifact, too.
        tags: Of the run.
        group: What the run belongs to.
        job: Its job type: a stage, or a sampling.

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
            name="/".join(part for part in (group and group.rpartition("/")[2], job) if part),
            project=project,
            save_dir=str(save_dir),
            id=_id_of(Path(save_dir)),
            entity=entity,
            group=group,
            job_type=job,
            tags=list(tags),
            settings=wandb.Settings(silent=True, init_timeout=float(os.environ.get("WANDB_INIT_TIMEOUT", 30))),
        )
        del self._wandb_init["anonymous"]  # W&B warns of it
        self.mode, self.artifacts = mode, artifacts
        self.options: dict[str, Any] = {}
        """The options to show, set before the run begins."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, begun at the first use."""
        if self._experiment is None:
            import wandb
            from wandb.errors import CommError

            offline = self.mode is None and not wandb.login(prompt=False, verify=False)
            self._wandb_init |= {"config": self.options, "mode": "offline" if offline else self.mode or "online"}
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

    @rank_zero_only
    @harmless
    def finish(self, code: int = 0) -> None:
        """End the run, so that the next one in this process is another; ``code`` 1 marks it as failed."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=code)
            self._experiment = None


def _id_of(folder: Path) -> str:
    """The id of a folder's run, made at its first start."""
    path = folder / "wandb.json"
    if not path.exists():
        if rank() != 0:
            return "of_another_process"
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"id": secrets.token_hex(4)}) + "\n", encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))["id"]
