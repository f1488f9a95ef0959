"""`evaluate.py`: run a study on a run's held-out images, and put all studies of the run on one page."""

import json
import logging
import shutil
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from spnn.configs import instantiate, merged
from spnn.errors import InputError
from spnn.evaluation.findings import Findings, Table
from spnn.evaluation.report import save_report
from spnn.evaluation.results import save_findings, track
from spnn.evaluation.study import Request, Samples, Study
from spnn.evaluation.subject import Subject
from spnn.evaluation.tables import print_table
from spnn.outputs import outputs_of
from spnn.processes import rank
from spnn.runs import alone_in, check_results_folder, fresh_folder
from spnn.sampling.generate import check_common, check_guidance, generate
from spnn.sampling.models import Models, load_models
from spnn.sampling.results import described
from spnn.sampling.store import MemoryStore, SampleStore
from spnn.settings import at_work
from spnn.tracking import log_table, tracking

__all__ = ["conclude", "evaluate"]

log = logging.getLogger(__name__)

_MARKER = "evaluate.yaml"


@at_work
def evaluate(config: DictConfig) -> list[dict]:
    """Run ``config.study``; return its entries, a dictionary per method or setting.

    Samples, tables and figures go to the study's folder, ``config.folder/<study>``, see
    :mod:`spnn.evaluation.results`; the reconstruction's entries also go to ``config.folder/metrics.json``. An
    interrupted study with the same options is continued; other earlier results are kept, with their time in the name.
    At the end, all studies in ``config.folder`` are put on one page, ``config.report``.

    Raises:
        InputError: If the run is unknown or lacks a model, or an option can't be met.
    """
    check_common(config, "count", "resamples")
    study: Study = instantiate(config.study)
    top = Path(config.folder)
    folder = check_results_folder(top / study.name, marker=_MARKER)
    _check_top(top)
    models = load_models(config)
    requests = _begin(study, models, config)
    with alone_in(folder) if rank() == 0 else nullcontext():
        samples, stores = _sample(study, requests, models, folder, top)
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # the first process continues alone; metrics mustn't wait
        if rank() != 0:
            return []
        findings = study.conclude(samples)
        save_findings(findings, folder)
        if study.name == "reconstruction":
            shutil.copyfile(folder / "metrics.json", top / "metrics.json")
        with tracking(
            config.get("logger"), folder, config=config, group=study.subject.run.title, job=f"evaluate {study.name}"
        ) as loggers:
            track(loggers, findings, folder)
            log_table(loggers, "samples", _described(study, requests, samples, folder))
        for store in stores:
            store.close()
    for part in findings.parts:
        if isinstance(part, Table) and part.columns and len(part.rows) <= 20:
            print_table(part)
    for verdict in findings.verdicts:
        log.info("%s", verdict)
    log.info("results: %s", folder)
    if config.report is not None:
        save_report(study.subject.run.folder, top, Path(config.report))
        log.info("report: %s", config.report)
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def conclude(study: Study, models: Models, config: DictConfig) -> Findings:
    """Run a study in memory.

    Arguments:
        study: A study that hasn't begun.
        models: A run's models.
        config: A config of ``evaluate.py``; its folder and loggers aren't used.
    """
    check_common(config, "count", "resamples")
    requests = _begin(study, models, config)
    return study.conclude(_draw_all(study, requests, models, {}))


def _begin(study: Study, models: Models, config: DictConfig) -> dict[str, Request]:
    """The study's requests, after a check that all of them can be drawn."""
    study.begin(Subject(models, config.count, config.resamples, config.split), config)
    requests = {
        name: replace(request, sampler=request.sampler or study.sampler()) for name, request in study.requests().items()
    }
    for name, request in requests.items():
        try:
            check_guidance(models, request)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    return requests


def _sample(
    study: Study, requests: dict[str, Request], models: Models, folder: Path, top: Path
) -> tuple[dict[str, Samples], list[SampleStore]]:
    """Draw all requested samples; only the first process gets them."""
    config = study.config
    stores = {name: SampleStore(folder / name, request.names) for name, request in requests.items()}
    whole = SampleStore(folder, [])
    if rank() == 0 and (top / _MARKER).exists():  # an evaluation from before there were studies
        fresh_folder(top)
    weights = {"weights": models.fingerprint()}
    whole.open(config, _MARKER, {"y": study.subject.y} | weights)
    for name, store in stores.items():
        # Record only the options of its own method: others may be added before an interrupted study is continued.
        own = [config.methods[method] for method, made in study.guidances.items() if made is requests[name].guidance]
        asked = merged({"guidance": own or config.methods}, config)
        store.open(asked, _MARKER, requests[name].rows() | weights)
    return _draw_all(study, requests, models, stores), [*stores.values(), whole]


def _draw_all(
    study: Study, requests: dict[str, Request], models: Models, stores: Mapping[str, MemoryStore]
) -> dict[str, Samples]:
    """Draw the samples that the stores lack, in memory if there are none; empty in a process that doesn't write."""
    drawn = {}
    for name, request in requests.items():
        found = _draw(study, name, request, models, stores.get(name) or MemoryStore(request.names))
        if found is not None:
            drawn[name] = found
    return drawn


def _draw(study: Study, name: str, request: Request, models: Models, store: MemoryStore) -> Samples | None:
    """Draw the samples that the store lacks; None in a process that doesn't write."""
    before, start = len(store.missing()), time.perf_counter()
    writes = generate(models, request, store, study.config, f"{study.name} {name}", frames_of="outputs")
    seconds = time.perf_counter() - start
    if not writes:
        return None
    found = store.collect()
    return Samples(found["image"], found.get("frames"), seconds if before == len(request.names) else None)


def _described(
    study: Study, requests: dict[str, Request], samples: dict[str, Samples], folder: Path
) -> list[dict[str, Any]]:
    """Rows for a few samples of each method: the picture, what was wanted and what was achieved."""
    if not study.config.get("logger"):
        return []
    rows = []
    for name, request in requests.items():
        if request.operator is not None or request.y is None:
            continue  # its outputs are measurements, not labels
        few = min(len(request.names), study.config.shown)
        y = outputs_of(study.subject.operator, samples[name].images[:few])
        for i in range(few):
            free = None if request.free is None else request.free[i]
            words = described(study.subject.readout, request.y[i], y[i], free)
            rows.append({"method": name, "image": folder / name / f"{request.names[i]}.png", **words})
    return rows


def _check_top(top: Path) -> None:
    ours = (top / _MARKER).exists() or (top / "reconstruction").exists()
    if (top / "metrics.json").exists() and not ours:
        raise InputError(f"{top} holds a metrics.json that is not an evaluation's: choose another `folder`.")
