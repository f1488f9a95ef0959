"""Create a workspace and a report in W&B that show what a run logs, using the package wandb-workspaces."""

from typing import Any

import torch
from omegaconf import OmegaConf

from spnn.errors import InputError
from spnn.runs import Run
from spnn.runs.listing import Listed

__all__ = ["report", "workspace"]

_LOSSES = ("loss", "task", "reconstruction", "natural")
_STEP = "trainer/global_step"


def workspace(run: Run, *, entity: str, project: str | None = None) -> Any:
    """A workspace with sections for losses, scores, pictures and samples, of the W&B runs of one run's folder.

    Arguments:
        run: The run; its config has its name in W&B and its labels.
        entity: The user or team in W&B.
        project: The project in W&B; None for that of the run's logger if it has one, else ``spnn``.

    Raises:
        InputError: If wandb-workspaces isn't installed.
    """
    parts = _panels(run)
    import wandb_workspaces.workspaces as workspaces

    return workspaces.Workspace(
        entity=entity,
        project=project or _project(run),
        name=run.title,
        sections=[workspaces.Section(name=name, panels=panels, is_open=True) for name, panels in parts.items()],
        runset_settings=workspaces.RunsetSettings(filters=_filter(run), groupby=[workspaces.Metric("JobType")]),
    )


def report(run: Run, *, entity: str, project: str | None = None) -> Any:
    """A page to share: the run's figures as a table, then the panels of :func:`workspace`. Arguments and errors are the
    same as there."""
    parts = _panels(run)
    import wandb_workspaces.reports.v2 as reports

    rows = [f"| `{name}` | {value:.4g} |" for name, value in Listed(run.folder).means.items()]
    blocks: list[Any] = [reports.MarkdownBlock(text="\n".join(["| figure | value |", "| --- | ---: |", *rows]))]
    for name, panels in parts.items():
        runs = reports.Runset(name=run.title, filters=_filter(run))  # in the report's own project
        blocks += [reports.H2(text=name), reports.PanelGrid(runsets=[runs], panels=panels)]
    return reports.Report(entity=entity, project=project or _project(run), title=run.title, blocks=blocks)


def _panels(run: Run) -> dict[str, list[Any]]:
    """W&B's panels, by section."""
    try:
        import wandb_workspaces.reports.v2 as reports
    except ModuleNotFoundError:
        raise InputError("wandb-workspaces isn't installed: pip install 'spnn[dashboard]'.") from None
    readout = run.source.readout
    kinds = readout.by_score(torch.zeros(len(readout.scored)))
    losses = [
        reports.LinePlot(title=loss, x=_STEP, y=[f"{split}/{loss}" for split in ("train", "val")], smoothing_factor=0.6)
        for loss in _LOSSES
    ]
    scores = [
        plot
        for kind in kinds
        for plot in (
            reports.LinePlot(title=kind, x=_STEP, y=[f"val/{kind}"]),
            reports.LinePlot(title=f"{kind} of each {readout.noun}", x=_STEP, metric_regex=f"val/{kind}/.*"),
        )
    ]
    scores.append(reports.LinePlot(title="reconstructions while the prior is trained", x=_STEP, y=["val/agreement"]))
    pictures = [reports.MediaBrowser(title=key, media_keys=[key]) for key in ("pictures", "grid")]
    samples = [reports.WeavePanelSummaryTable(table_name="samples")]
    return {"Losses": losses, "Scores": scores, "Pictures": pictures, "Samples": samples}


def _project(run: Run) -> str:
    return OmegaConf.select(run.config, "logger.wandb.project") or "spnn"


def _filter(run: Run) -> str:
    return f"Metric('Group') == '{run.title}'"
