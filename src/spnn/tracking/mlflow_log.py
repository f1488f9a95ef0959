"""MLflow, through Lightning's logger: a local database by default, or a server.

Steps that are made again after an interruption are logged twice, with the same values.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from spnn.tracking.harmless import harmless, say_once
from spnn.tracking.tracker import RunTracker, check_installed, kept_id, run_title

__all__ = ["MlflowLog"]

_SQLITE = "sqlite:///"
# Set unless the user has set it: no usage statistics, no message for each table that is created, and waiting seconds,
# not minutes, for a server that is gone.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class MlflowLog(RunTracker):
    """An MLflow run.

    Arguments:
        save_dir: The folder that the run is for; the run's id is kept there, in ``mlflow.json``.
        uri: The URI of the database or server. With a SQLite database, files of runs are next to it, in ``mlflow/``.
        project: The name of the experiment in MLflow.
        artifacts: Whether a finished stage's weights are copied to MLflow, too.
        tags: Further tags, name to text.
        group, job: What the run belongs to, and what it is: a stage, or a sampling. Both become tags of the run.
        sweep: The multirun that it belongs to. Also a tag.

    Raises:
        InputError: If MLflow, or a package that it needs for a database, isn't installed.
    """

    def __init__(
        self,
        save_dir: str | Path,
        *,
        uri: str = "sqlite:///outputs/mlflow.db",
        project: str = "spnn",
        artifacts: bool = False,
        tags: Mapping[str, str] | None = None,
        group: str | None = None,
        job: str | None = None,
        sweep: str | None = None,
    ):
        check_installed("mlflow", "mlflow", "pandas", *(("sqlalchemy", "alembic") if "sql" in uri else ()))
        super().__init__()
        self.path, self.uri, self.project, self.artifacts = Path(save_dir) / "mlflow.json", uri, project, artifacts
        named = {"group": group, "job": job, "sweep": sweep}
        self.tags = {**(tags or {}), **{name: value for name, value in named.items() if value}}
        self.title = run_title(group, job)

    def begin(self) -> MLFlowLogger:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient, MlflowException

        files = None  # the server chooses where to put them
        if self.uri.startswith(_SQLITE):
            database = Path(self.uri.removeprefix(_SQLITE)).absolute()
            database.parent.mkdir(parents=True, exist_ok=True)
            files = (database.parent / "mlflow").as_uri()
            say_once(f"MLflow logs to {database}; view with: mlflow ui --backend-store-uri {_SQLITE}{database}")
        client = MlflowClient(self.uri)
        if self.path.exists():
            id = kept_id(self.path)
            try:
                client.update_run(id, status="RUNNING")
                return MLFlowLogger(run_id=id, tracking_uri=self.uri)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # it doesn't if, say, the database was removed
                    raise
                self.path.unlink()
        try:
            client.create_experiment(self.project, artifact_location=files)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another job may have been faster
                raise
        run = MLFlowLogger(self.project, self.title, self.uri, self.tags)
        kept_id(self.path, lambda: str(run.run_id))
        harmless(run.log_hyperparams)(self.options)  # MLflow refuses some characters in names
        return run

    @rank_zero_only
    @harmless
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.experiment.log_metrics(metrics, step)

    def log_picture(self, name: str, path: Path, step: int | None = None) -> None:
        client, id = self._client()
        if step is None:
            client.log_artifact(id, str(path))
        else:
            client.log_image(id, Image.open(path), key=name, step=step)

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        client, id = self._client()
        cells = [[Image.open(cell) if isinstance(cell, Path) else cell for cell in row] for row in rows]
        data = dict(zip(columns, map(list, zip(*cells, strict=True)), strict=True))
        client.log_table(id, data, re.sub(r"""["',:[\]{}]""", "_", name) + ".json")  # MLflow refuses these characters

    def log_weights(self, name: str, files: Sequence[Path], metrics: Mapping[str, float]) -> None:
        client, id = self._client()
        for path in files:
            client.log_artifact(id, str(path), name)

    def finish(self, code: int = 0) -> None:
        if self._experiment is not None:
            client, id = self._client()
            client.set_terminated(id, "FAILED" if code else "FINISHED")
            self._experiment = None

    def _client(self) -> tuple[Any, str]:
        return self.experiment.experiment, self.experiment.run_id
