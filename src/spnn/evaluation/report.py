"""The report: one page about a run and all its studies, in one self-contained file."""

import base64
import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from jinja2 import Environment
from omegaconf import DictConfig, OmegaConf

from spnn.configs import read_config
from spnn.evaluation.figures import draw
from spnn.evaluation.findings import Lines, Table
from spnn.evaluation.tables import cells
from spnn.saving import replacing

__all__ = ["save_report", "training_curves"]

_ORDER = ("reconstruction", "edit", "multi", "ablation", "steps", "penrose")  # others follow
_SPLITS = {"train": "training", "val": "validation"}


def save_report(run: Path, evaluation: Path, path: Path) -> None:
    """Write the report of a run.

    Arguments:
        run: The run's folder.
        evaluation: The folder of its studies; each is in a subfolder with ``findings.json``.
        path: The HTML file, which is rebuilt from all studies that are there, and needs no other file.
    """
    config = read_config(run / "config.yaml")
    settings = {
        "name": "settings",
        "title": "Settings",
        "parts": [_table(_settings(config))],
        "options": OmegaConf.to_yaml(config),
    }
    studies = [file.parent for file in evaluation.glob("*/findings.json") if "." not in file.parent.name]  # no old ones
    studies.sort(key=lambda folder: (_ORDER.index(folder.name) if folder.name in _ORDER else len(_ORDER), folder.name))
    training = {"name": "training", "title": "Training", "parts": _training(run, config)}
    sections = [settings, *map(_study, studies), *([training] if training["parts"] else [])]
    template = Environment(autoescape=True).from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        unfinished.write_text(
            template.render(title=f"{config.name}: evaluation", run=run, sections=sections), encoding="utf-8"
        )


def training_curves(file: Path) -> list[Lines]:
    """Each metric in a stage's ``metrics.csv`` that was logged in training or validation, against the step."""
    by_metric: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    for column in dict.fromkeys(key for row in rows for key in row if key):
        split, _, metric = column.partition("/")
        points = [(float(row["step"]), float(row[column])) for row in rows if split in _SPLITS and row.get(column)]
        if points := [(step, value) for step, value in points if math.isfinite(value)]:
            by_metric.setdefault(metric, {})[_SPLITS[split]] = [step for step, _ in points], [y for _, y in points]
    curves = []
    for metric, series in by_metric.items():
        values = [value for _, y in series.values() for value in y]
        wide = min(values) > 0 and max(values) > 5 * min(values)
        curves.append(Lines(metric, metric.replace("_", " "), "step", series, log_y=wide))
    return curves


def _settings(config: DictConfig) -> Table:
    parts = {"data": config.data.source, "network": config.network, "prior": config.prior, "judge": config.judge}
    rows = [{"what": what, "how": _call(part)} for what, part in parts.items()]
    rows.append({"what": "seed", "how": str(config.seed)})
    for name in config.stages:
        stage = config.stage[name]
        weights = {k: v for k, v in stage.module.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        epochs = stage.get("epochs")
        length = {"steps": stage.trainer.get("max_steps")} if epochs is None else {"epochs": epochs}
        options = {"batch_size": stage.batch_size, **length, **weights}
        rows.append({"what": f"stage {name}", "how": ", ".join(f"{k} {v}" for k, v in options.items())})
    return Table("settings", "", {"what": "", "how": ""}, rows)


def _call(config: DictConfig) -> str:
    """A config's target and its plain options, in one line."""
    options = [
        f"{key} {value if not OmegaConf.is_config(value) else OmegaConf.to_container(value)}"
        for key, value in zip(map(str, config), config.values(), strict=True)
        if not key.startswith("_") and key != "plan" and not OmegaConf.is_dict(value)
    ]
    return ": ".join(filter(None, (str(config.get("_target_", "")).rpartition(".")[2], ", ".join(options))))


def _study(folder: Path) -> dict[str, Any]:
    findings = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    parts = []
    for part in findings["parts"]:
        if part["kind"] != "Table":
            parts.append(_image(part, part["kind"], (folder / f"{part['name']}.png").read_bytes()))
        elif part["columns"]:
            parts.append(_table(Table(part["name"], part["caption"], part["columns"], part["rows"])))
    options = folder / "evaluate.yaml"
    return {
        **findings,
        "name": folder.name,
        "parts": parts,
        "options": options.is_file() and options.read_text(encoding="utf-8"),
    }


def _training(run: Path, config: DictConfig) -> list[dict[str, Any]]:
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8")) if (run / "metrics.json").is_file() else {}
    rows = [
        {"stage": stage, "metric": name.replace("_", " "), "value": value}
        for stage, values in metrics.items()
        for name, value in values.items()
        if isinstance(value, int | float) and "/" not in name
    ]
    columns = {"stage": "stage", "metric": "on the test split", "value": ""}
    parts = [_table(Table("metrics", "", columns, rows))] if rows else []
    for stage in config.stage:
        file = run / stage / "metrics.csv"
        if file.is_file() and (curves := training_curves(file)):
            png = io.BytesIO()
            draw(*curves).savefig(png)
            shown = [f"{curve.title} ({', '.join(curve.series)})" for curve in curves]
            parts.append(_image({"title": f"stage {stage}", "rows": shown}, "Lines", png.getvalue()))
    return parts


def _image(part: dict[str, Any], kind: str, png: bytes) -> dict[str, Any]:
    shown = ", ".join(part.get("series") or part.get("rows") or ()).replace("\n", " ")
    return {
        "title": part["title"].replace("_", " "),
        "kind": kind,
        "shown": shown,
        "source": f"data:image/png;base64,{base64.b64encode(png).decode()}",
    }


def _table(table: Table) -> dict[str, Any]:
    """A table; columns of text are left-aligned, columns of numbers right-aligned."""
    kinds = ["text" if any(isinstance(row.get(key), str) for row in table.rows) else "" for key in table.columns]
    head = list(zip(table.columns.values(), kinds, strict=True))
    rows = [list(zip(texts, kinds, strict=True)) for texts in cells(table)]
    return {"caption": table.caption, "kind": "Table", "head": head, "rows": rows}
