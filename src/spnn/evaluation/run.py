"""`evaluate.py`: reconstruct held-out images from their attributes alone, and count what came back.

Each method samples an image for each target, from the same noise. Agreement is judged twice: by the network that guided
the sampling, and by an independent judge, who compares the sample with the held-out image by its own lights. Beside the
methods stands the trivial answer, always the value that most training images have: on rare attributes it is hard to
beat.
"""

import csv
import json
import logging
import time

import torch
from omegaconf import DictConfig
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from spnn.configs import instantiate
from spnn.data import Source
from spnn.data.module import collate
from spnn.errors import InputError
from spnn.evaluation.figures import save_agreement_chart
from spnn.metrics import attribute_metrics, pixel_metrics
from spnn.runs import check_results_folder
from spnn.sampling.generate import check_precision, generate, outputs_of
from spnn.sampling.images import held_out
from spnn.sampling.models import load_models
from spnn.sampling.pictures import save_grid
from spnn.sampling.store import SampleStore
from spnn.sweeps import format_metric

__all__ = ["evaluate"]

log = logging.getLogger(__name__)

_COLUMNS = {
    "agreement": "agree %",
    "balanced_agreement": "bal. %",
    "mae": "MAE",
    "judge_agreement": "judge %",
    "judge_balanced_agreement": "bal. %",
    "judge_mae": "MAE",
    "largest_pixel": "max |x|",
}


def evaluate(config: DictConfig) -> list[dict]:
    """Evaluate ``config.methods`` on ``config.count`` held-out images; return one dictionary per method.

    Writes ``metrics.json`` (the same), ``attributes.csv``, ``agreement.png``, ``grid.png``, and each method's samples
    in a folder of its name. An interrupted evaluation of the same is continued.

    Raises:
        InputError: If the run is unknown or lacks a model, or there are fewer images than asked for.
    """
    check_precision(config.trainer)
    folder = check_results_folder(config.folder, marker="evaluate.yaml")
    models = load_models(config)
    if models.attributes is None or models.run is None:
        raise InputError("evaluate.py compares reconstructions from attributes: it needs a run and operator=trained.")
    source = models.run.source
    judges = {"": models.operator} if models.judge is None else {"": models.operator, "judge_": models.judge}
    names, images = held_out(source, 0, config.count)

    def judged(x: Tensor) -> dict[str, Tensor]:
        return {prefix: outputs_of(network, x) for prefix, network in judges.items()}

    logits = judged(images)
    wanted = {prefix: y.sigmoid() for prefix, y in logits.items()}

    def metrics_of(probabilities: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            prefix + name: values
            for prefix, probability in probabilities.items()
            for name, values in attribute_metrics(probability, wanted[prefix]).items()
        }

    sampler = instantiate(config.sampler, schedule=models.prior.schedule)
    asked = {"seed": config.seed + torch.arange(config.count), "y": logits[""]}
    stores = {method: SampleStore(folder / method, names) for method in config.methods}
    whole = SampleStore(folder, [])
    for store in (whole, *stores.values()):
        store.open(config, "evaluate.yaml", asked)
    entries, per_attribute, samples = [], {}, {}
    for method, guidance in config.methods.items():
        start = time.perf_counter()
        writes = generate(
            models,
            instantiate(guidance),
            sampler,
            asked,
            stores[method],
            trainer=config.trainer,
            batch_size=config.batch_size,
            compile=config.compile,
            title=f"guidance {method}",
        )
        seconds = time.perf_counter() - start
        if not writes:
            continue
        samples[method] = x = stores[method].collect()["image"]
        per_attribute[method] = metrics_of({prefix: y.sigmoid() for prefix, y in judged(x).items()})
        entries.append({"guidance": method, **_means(per_attribute[method]), **pixel_metrics(x), "seconds": seconds})
    if not writes:
        return []
    majority = (attribute_rates(source) > 0.5).float().expand(config.count, -1)
    per_attribute["majority"] = metrics_of(dict.fromkeys(judges, majority))
    entries.append({"guidance": "majority", **_means(per_attribute["majority"])})

    (folder / "metrics.json").write_text(json.dumps(entries, indent=2) + "\n")
    with (folder / "attributes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["guidance", "attribute", *per_attribute["majority"]])
        for method, values in per_attribute.items():
            rows = zip(source.attributes, *(value.tolist() for value in values.values()), strict=True)
            writer.writerows([method, *row] for row in rows)
    agreements = {method: values["agreement"] for method, values in per_attribute.items()}
    save_agreement_chart(agreements, source.attributes, folder / "agreement.png")
    few = min(config.count, config.shown)
    rows = {"held-out\nimage": images[:few], **{method: x[:few] for method, x in samples.items()}}
    save_grid(rows, names[:few], folder / "grid.png")
    for store in (*stores.values(), whole):
        store.close()
    _print_table(entries, config.count)
    log.info("metrics: %s", folder / "metrics.json")
    log.info("pictures: %s, %s", folder / "grid.png", folder / "agreement.png")
    return entries


def attribute_rates(source: Source) -> Tensor:
    """The share of training images that have each attribute, [K]."""
    dataset = source.split("train")
    if hasattr(dataset, "arrays"):
        return torch.from_numpy(dataset.arrays.attributes.mean(0)).float()
    batches = [batch["attributes"] for batch in DataLoader(dataset, batch_size=256, collate_fn=collate)]
    return torch.cat(batches).mean(0)


def _means(metrics: dict[str, Tensor]) -> dict[str, float]:
    return {name: values.mean().item() for name, values in metrics.items()}


def _print_table(entries: list[dict], count: int) -> None:
    columns = {key: title for key, title in _COLUMNS.items() if key in entries[0]}
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"Reconstruction of {count} held-out images from their attributes",
        caption="agreement, balanced agreement and MAE, by the guiding network and by the independent judge",
    )
    table.add_column("guidance", no_wrap=True)
    for title in columns.values():
        table.add_column(title, justify="right", no_wrap=True)
    for entry in entries:
        cells = (format_metric(entry.get(key), title) for key, title in columns.items())
        table.add_row(entry["guidance"], *cells)
    Console().print(table)
