"""A workspace in W&B that shows what a run logs, made by code, with the package wandb-workspaces."""

from typing import Any

import torch
from omegaconf import OmegaConf

from spnn.errors import InputError
from spnn.runs import Run

__all__ = ["workspace"]

_LOSSES = ("loss", "task", "reconstruction", "natural")


def workspace(run: Run, *, entity: str, project: str | None = None) -> Any:
    """Sections of losses, scores, pictures and samples, of the W&B runs of one run's folder.

    Arguments:
        run: The run; its config says what it is called in W&B, and what its labels are.
        entity: The user or team in W&B.
        project: In W&B; None for that of the run's logger, else ``spnn``.

    Raises:
        InputError: If wandb-workspaces isn't installed.
    """
    try:
        import wandb_workspaces.reports.v2 as reports
        import wandb_workspaces.workspaces as workspaces
    except ModuleNotFoundError:
        raise InputError("wandb-workspaces isn't installed: pip install 'spnn[dashboard]'.") from None
    project = project or OmegaConf.select(run.config, "logger.wandb.project") or "spnn"
    readout, step = run.source.readout, "trainer/global_step"
    kinds = readout.by_score(torch.zeros(len(readout.scored)))
    losses = [
        reports.LinePlot(title=loss, x=step, y=[f"{split}/{loss}" for split in ("train", "val")], smoothing_factor=0.6)
        for loss in _LOSSES
    ]
    scores = [
        plot
        for kind in kinds
        for plot in (
            reports.LinePlot(title=kind, x=step, y=[f"val/{kind}"]),
            reports.LinePlot(title=f"{kind} of each {readout.noun}", x=step, metric_regex=f"val/{kind}/.*"),
        )
    ]
    scores.append(reports.LinePlot(title="reconstructions while the prior is trained", x=step, y=["val/agreement"]))
    pictures = [reports.MediaBrowser(title=key, media_keys=[key]) for key in ("pictures", "grid")]
    samples = [reports.WeavePanelSummaryTable(table_name="samples")]
    parts: dict[str, list[Any]] = {"Losses": losses, "Scores": scores, "Pictures": pictures, "Samples": samples}
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=run.title,
        sections=[workspaces.Section(name=name, panels=panels, is_open=True) for name, panels in parts.items()],
        runset_settings=workspaces.RunsetSettings(
            filters=f"Metric('Group') == '{run.title}'",
            groupby=[workspaces.Metric("JobType")],
        ),
    )
