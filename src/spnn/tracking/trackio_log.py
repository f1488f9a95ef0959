"""Trackio: a database in a local folder, without an account; `trackio show` displays it.

Runs are always local, whatever Trackio's environment variables are; `trackio sync` uploads a project later. Steps that
are made again after an interruption are logged twice, with the same values.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from spnn.tracking.harmless import harmless, say_once
from spnn.tracking.tracker import RunTracker, check_installed, kept_id, run_title

__all__ = ["TrackioLog"]


class TrackioLog(RunTracker):
    """A Trackio run.

    Arguments:
        save_dir: The folder that the run is for; the run's id is kept there, in ``trackio.json``.
        folder: Trackio's folder, for all runs.
        project: The name of the project in Trackio.
        artifacts: Whether a finished stage's weights are copied to Trackio, too.
        group, job: What the run belongs to, and what it is: a stage, or a sampling.
        sweep: The multirun that it belongs to; all jobs of a multirun form one group.

    Raises:
        InputError: If Trackio isn't installed.
    """

    def __init__(
        self,
        save_dir: str | Path,
        *,
        folder: str | Path = "outputs/trackio",
        project: str = "spnn",
        artifacts: bool = False,
        group: str | None = None,
        job: str | None = None,
        sweep: str | None = None,
    ):
        check_installed("trackio", "trackio")
        super().__init__()
        self.path, self.folder, self.project = Path(save_dir) / "trackio.json", Path(folder).absolute(), project
        self.artifacts, self.group = artifacts, sweep or group
        self.title = run_title(group, job)

    def begin(self) -> Any:
        os.environ["TRACKIO_DIR"] = str(self.folder)  # read once, when Trackio is imported
        from trackio.run import Run
        from trackio.utils import TRACKIO_DIR

        class LocalRun(Run):
            def _get_username(self) -> None:
                """Return None; Trackio's own method asks the Hub if there is a token."""

        say_once(f"Trackio logs to {TRACKIO_DIR}; view with: TRACKIO_DIR={TRACKIO_DIR} trackio show")
        return LocalRun(
            url=None,
            project=self.project,
            client=None,
            name=self.title,
            run_id=kept_id(self.path),
            group=self.group,
            config=dict(self.options),
        )

    @rank_zero_only
    @harmless
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.experiment.log(dict(metrics), step)

    def log_picture(self, name: str, path: Path, step: int | None = None) -> None:
        run = self.experiment  # sets Trackio's folder before importing it
        import trackio

        run.log({name: trackio.Image(path)}, step)

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        run = self.experiment
        import trackio

        cells = [[trackio.Image(cell) if isinstance(cell, Path) else cell for cell in row] for row in rows]
        run.log({name: trackio.Table(columns=list(columns), data=cells)})

    def log_weights(self, name: str, files: Sequence[Path], metrics: Mapping[str, float]) -> None:
        run = self.experiment
        import trackio

        artifact = trackio.Artifact(name, type="model", metadata=dict(metrics))
        for path in files:
            artifact.add_file(path)
        run.log_artifact(artifact)

    def finish(self, code: int = 0) -> None:
        if self._experiment is not None:
            with redirect_stdout(StringIO()):  # it prints that it uploads
                self._experiment.finish()
            self._experiment = None
