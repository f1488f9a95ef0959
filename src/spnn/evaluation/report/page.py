"""The page: settings, every study that there is, training."""

import json
from html import escape
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from spnn.evaluation.findings import Table
from spnn.evaluation.report.parts import lines_html, part_html, table_html
from spnn.evaluation.report.style import STYLE
from spnn.evaluation.report.training import training_curves
from spnn.replacing import replacing

__all__ = ["save_report"]

_ORDER = ("reconstruction", "edit", "multi", "ablation", "steps", "penrose")  # others follow


def save_report(run: Path, evaluation: Path, path: Path) -> None:
    """Write the report of a run.

    Arguments:
        run: The run's folder.
        evaluation: The folder with its studies: each one in a folder with ``findings.json``.
        path: The HTML file; it is made anew from what is there, and needs no other file.
    """
    config = OmegaConf.load(run / "config.yaml")
    sections = {"settings": ("Settings", _settings(run, config))}
    for study in _studies(evaluation):
        findings = json.loads((study / "findings.json").read_text())
        sections[study.name] = (findings["title"], _study(study, findings))
    sections["training"] = ("Training", _training(run, config))
    sections = {name: section for name, section in sections.items() if section[1]}
    links = "".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in sections)
    body = "".join(
        f'<section id="{escape(name)}"><h2>{escape(title)}</h2>{html}</section>'
        for name, (title, html) in sections.items()
    )
    title = f"{config.name}: evaluation"
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f'<body><main><h1>{escape(title)}</h1><p class="faint">{escape(str(run))}</p><nav>{links}</nav>{body}'
        "</main></body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        unfinished.write_text(page)


def _studies(evaluation: Path) -> list[Path]:
    """The studies' folders; not those kept under a time."""
    found = {
        path.parent.name: path.parent for path in evaluation.glob("*/findings.json") if "." not in path.parent.name
    }
    names = [name for name in _ORDER if name in found] + sorted(set(found) - set(_ORDER))
    return [found[name] for name in names]


def _settings(run: Path, config: DictConfig) -> str:
    rows = [
        {"what": "data", "how": _call(config.data.source)},
        {"what": "network", "how": _call(config.network, but=("plan",))},
        {"what": "prior", "how": _call(config.prior)},
        {"what": "judge", "how": _call(config.judge)},
        {"what": "seed", "how": str(config.seed)},
    ]
    for name in config.stages:
        stage = config.stage[name]
        weights = {k: v for k, v in stage.module.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        options = {"batch_size": stage.batch_size, "steps": stage.trainer.get("max_steps"), **weights}
        rows.append({"what": f"stage {name}", "how": ", ".join(f"{k} {v}" for k, v in options.items())})
    table = table_html(Table("settings", "", {"what": "", "how": ""}, rows))
    every = escape(OmegaConf.to_yaml(config))
    return f"{table}<details><summary>every option of the training</summary><pre>{every}</pre></details>"


def _call(config: DictConfig, but: tuple[str, ...] = ()) -> str:
    """A config's target and its plain options, in a line."""
    options = [
        f"{key} {value if not OmegaConf.is_config(value) else OmegaConf.to_container(value)}"
        for key, value in config.items()
        if not str(key).startswith("_") and key not in but and not OmegaConf.is_dict(value)
    ]
    return ": ".join(filter(None, (str(config.get("_target_", "")).rpartition(".")[2], ", ".join(options))))


def _study(folder: Path, findings: dict) -> str:
    verdicts = "".join(f"<li>{escape(verdict)}</li>" for verdict in findings["verdicts"])
    parts = "".join(part_html(part, folder) for part in findings["parts"])
    options = ""
    if (folder / "evaluate.yaml").is_file():
        listed = escape((folder / "evaluate.yaml").read_text())
        options = f"<details><summary>every option of this study</summary><pre>{listed}</pre></details>"
    return f'<p class="faint">{escape(findings["compared"])}</p><ul>{verdicts}</ul>{parts}{options}'


def _training(run: Path, config: DictConfig) -> str:
    html = ""
    path = run / "metrics.json"
    if path.is_file():
        metrics = json.loads(path.read_text())
        rows = [
            {"stage": stage, "metric": name.replace("_", " "), "value": value}
            for stage, values in metrics.items()
            for name, value in values.items()
            if isinstance(value, int | float) and "/" not in name
        ]
        columns = {"stage": "stage", "metric": "on the test split", "value": ""}
        html += table_html(Table("metrics", "", columns, rows)) if rows else ""
    for stage, curves in training_curves(run, list(config.stage)).items():
        drawn = "".join(
            lines_html(curve.title, curve.x, curve.series, log_x=curve.log_x, log_y=curve.log_y) for curve in curves
        )
        html += f'<h3>stage {escape(stage)}</h3><div class="charts">{drawn}</div>' if drawn else ""
    return html
