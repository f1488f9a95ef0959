"""`sample.py`: sample images for a task from a trained run, and write them with a labelled grid."""

import json
import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from spnn.errors import InputError
from spnn.runs import Run, check_results_folder, fresh_folder
from spnn.sampling.generate import generate, logits_of
from spnn.sampling.pictures import save_grid, save_image
from spnn.sampling.targets import held_out, set_attributes

__all__ = ["sample"]

log = logging.getLogger(__name__)


def sample(config: DictConfig) -> Path:
    """Carry out ``config.task``; return the folder that holds the images, ``grid.png`` and ``metadata.jsonl``.

    Raises:
        InputError: If the run, the task or an attribute is unknown, or the run lacks a model.
    """
    run = Run(config.run)
    folder = check_results_folder(config.folder, marker="sample.yaml")
    surjection, prior, source = run.surjection(), run.prior(), run.source
    images, _ = held_out(source, config.first, config.count)
    given = logits_of(surjection, images)
    if config.task == "reconstruct":
        targets, result = given, "reconstruction"
    elif config.task == "edit":
        targets = set_attributes(given, source.attributes, config.edit.set)
        result = "\n".join(f"{name} {value:+g}" for name, value in config.edit.set.items())
    else:
        raise InputError(f"unknown task {config.task!r}: choose reconstruct or edit.")
    seeds = range(config.seed + config.first, config.seed + config.first + config.count)
    samples = generate(
        prior,
        surjection,
        instantiate(config.guidance),
        instantiate(config.sampler, schedule=prior.schedule, _convert_="all"),
        targets,
        seeds,
        batch_size=config.batch_size,
        precision=config.precision,
    )
    achieved = logits_of(surjection, samples)
    agree = ((achieved > 0) == (targets > 0)).sum(1).tolist()

    fresh_folder(folder)
    OmegaConf.save(config, folder / "sample.yaml", resolve=True)
    with (folder / "metadata.jsonl").open("w") as metadata:
        for i, image in enumerate(samples):
            save_image(image, folder / f"{config.first + i:05d}.png")
            entry = {
                "image": config.first + i,
                "seed": seeds[i],
                "target": dict(zip(source.attributes, targets[i].tolist(), strict=True)),
                "achieved": dict(zip(source.attributes, achieved[i].tolist(), strict=True)),
            }
            metadata.write(json.dumps(entry) + "\n")
    labels = [f"{count}/{len(source.attributes)} agree" for count in agree]
    save_grid({"held-out\nimage": images, result: samples}, labels, folder / "grid.png")
    log.info("%d images and their grid: %s", len(samples), folder / "grid.png")
    return folder
