"""The tasks of sampling: what each sample should show, and where these targets come from."""

import logging
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from spnn.configs import plain
from spnn.errors import InputError, nearest
from spnn.readout import Readout
from spnn.sampling.images import held_out, own_images
from spnn.sampling.models import Models, need_operator
from spnn.sampling.pictures import file_name
from spnn.sampling.several import at_shares, in_turn
from spnn.sampling.targets import beyond_range, by_name, contradictions, far_targets, set_values, share_of
from spnn.surjection import Surjection

log = logging.getLogger(__name__)

__all__ = ["TASKS", "Problem", "check_noise", "checked_images", "need_operator", "picture_of", "pose", "with_noise"]

Outputs = Callable[[Tensor], Tensor]

_NOISE = 2**40  # added to seeds of noise, which then differ from the samples' seeds


@dataclass(frozen=True)
class Problem:
    """What to sample: N targets.

    Attributes:
        names: Names of the targets, for files and tables.
        y: The wanted outputs of the operator, [N, ...]; None if there are no targets.
        free: Which coordinates of ``y`` may take any value, [K]; None for none.
        edited: Which coordinates were set by name, [K]; None for none.
        images: The images that targets were taken from, [N, C, H, W], if any.
        clean: Whether samples should look like these images.
        rows: Pictures to show above the samples: label to images, [N, C, H, W].
        labels: Labels of the rows of samples. If there are several, each run of that many targets belongs to one image:
            their samples start from the same noise, and are shown below each other.
    """

    names: list[str]
    y: Tensor | None
    free: Tensor | None = None
    edited: Tensor | None = None
    images: Tensor | None = None
    clean: bool = False
    rows: dict[str, Tensor] = field(default_factory=dict)
    labels: Sequence[str] = ("sample",)


def pose(config: DictConfig, models: Models, outputs: Outputs, images: Tensor | None = None) -> Problem:
    """Pose ``config.task``.

    Arguments:
        config: The config of ``sample.py``.
        models: The models to work with.
        outputs: Computes the operator's outputs for images, [N, C, H, W] -> [N, ...].
        images: The images to work on, [N, C, H, W] in [-1, 1], instead of those that the config names.

    Raises:
        InputError: If the task lacks something, an image or a name is unknown, or a value can't be read.
    """
    given = None if images is None else checked_images(images, models)
    return find_task(config.task)(config, models, outputs, given)


def reconstruct(config: DictConfig, models: Models, outputs: Outputs, given: Tensor | None) -> Problem:
    """Draw images from nothing but the operator's outputs for given images."""
    operator = need_operator(models)
    names, images, label = _given_images(config, models, given)
    y = outputs(images)
    rows = {label: images} if models.readout.names else {label: images, "measured": picture_of(operator, y)}
    return Problem(names, y, images=images, clean=True, rows=rows, labels=["reconstruction"])


def edit(config: DictConfig, models: Models, outputs: Outputs, given: Tensor | None) -> Problem:
    """Draw images from the outputs for given images, with some outputs set; the others are kept, follow or are free."""
    _need_names(models)
    wanted = by_name(plain(config.edit)["set"], "edit.set")
    return _edited(config, models, outputs, given, [wanted])


def sweep(config: DictConfig, models: Models, outputs: Outputs, given: Tensor | None) -> Problem:
    """Draw images from the outputs for given images, with one output set to several values in turn."""
    _need_names(models)
    options = plain(config.sweep)
    known, quantile = models.training_outputs, _quantile(config)
    name, values = in_turn(options["set"], options["values"], models.readout, known, quantile)
    return _edited(config, models, outputs, given, [{name: value} for value in values])


def _edited(
    config: DictConfig, models: Models, outputs: Outputs, given: Tensor | None, series: Sequence[Mapping[str, Any]]
) -> Problem:
    """Make the problem of given images with some outputs set, in one way or in several ways."""
    known, option = models.training_outputs, f"{config.task}.others"
    others = OmegaConf.select(config, option)
    others = ("keep" if known is None else "follow") if others is None else others
    free = others == "free"
    share = 0.0 if free else share_of(others, option)
    names, images, label = _given_images(config, models, given)
    found = outputs(images)
    targets, masks = zip(*(_set(config, models, found, share, wanted) for wanted in series), strict=True)
    labels = [_settings(wanted, models.readout) for wanted in series]
    if len(series) > 1:
        names = [f"{name}_{file_name(text).replace(' ', '_')}" for name in names for text in labels]
        images = images.repeat_interleave(len(series), 0)
    y, edited = torch.stack(targets, 1).flatten(0, 1), masks[0]
    if known is not None and not free and (far := far_targets(names, y, models.readout, known, share)):
        log.warning("%s", far)
    return Problem(
        names,
        y,
        free=~edited if free else None,
        edited=edited,
        images=images,
        rows={label: images},
        labels=labels,
    )


def generate(config: DictConfig, models: Models, outputs: Outputs, given: Tensor | None) -> Problem:
    """Draw new images with some outputs set; the others are drawn as training images might have them together with
    these, or are free."""
    labels, names = _need_names(models), _numbered(config)
    known, others = models.training_outputs, config.generate.others
    if others not in ("random", "free", None) or (others == "random" and known is None):
        raise InputError(f"generate.others must be {'' if known is None else 'random or '}free, got {others!r}.")
    if known is None or others == "free":
        free, y = True, torch.zeros(len(names), len(labels))
    else:
        every = {tuple(models.readout.together(k)) for k in range(len(labels))}
        classes = [group for group in every if len(group) > 1]  # for a map, many: one for each cell
        seeds = [config.seed + config.first + i for i in range(len(names))]
        free, y = False, known.random(seeds, classes[0] if len(classes) == 1 else ())
    option = "generate.set"
    wanted = by_name(plain(config.generate)["set"], option)
    rows = at_shares(wanted, len(names), config.seed + config.first)
    for one in {str(row): row for row in rows}.values():
        which = torch.tensor([row == one for row in rows])
        y[which], edited = _set(config, models, y[which], 0.0 if free else 1.0, one)
    label = (
        "sample" if any(isinstance(value, Mapping) for value in wanted.values()) else _settings(wanted, models.readout)
    )
    return Problem(names, y, free=~edited if free else None, edited=edited, labels=[label])


def restore(config: DictConfig, models: Models, outputs: Outputs, given: Tensor | None) -> Problem:
    """Undo a known degradation, applied to given images here or present in them already."""
    operator = need_operator(models)
    if models.readout.names:
        raise InputError(
            "restore undoes a degradation: choose another operator, such as inpainting, super_resolution or jpeg. An "
            "image is drawn from its labels by task=reconstruct."
        )
    noise = config.restore.get("noise", 0)
    check_noise(noise, "restore.noise")
    if not config.restore.degraded:
        problem = reconstruct(config, models, outputs, given)
        if noise and problem.y is not None:
            y = with_noise(problem.y, noise, config.seed + config.first)
            problem = replace(problem, y=y, rows=problem.rows | {"measured": picture_of(operator, y)})
        return replace(problem, labels=["restored"])
    if noise:
        raise InputError("restore.noise is put on measurements of clean images; degraded ones have theirs already.")
    if config.images is None:
        raise InputError("restore.degraded=true takes your own degraded images: give them as `images`.")
    if not getattr(operator, "takes_pictures", True):
        raise InputError(
            f"what {type(operator).__name__} measures is not a picture: give clean images, restore.degraded=false."
        )
    shape = models.prior.image_shape
    measured = outputs(torch.zeros(1, *shape)).shape[1:]
    if len(measured) == 3:
        names, y = own_images(config.images, config.first, config.count, measured)
    else:  # the operator ignores an image's hidden pixels
        names, images = own_images(config.images, config.first, config.count, shape)
        y = outputs(images)
    return Problem(names, y, rows={"measured": picture_of(operator, y)}, labels=["restored"])


def check_noise(noise: Any, option: str) -> None:
    """Raise InputError unless an option's value can be the deviation of noise."""
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not noise >= 0:
        raise InputError(f"{option} is the deviation of noise, a number of at least 0, got {noise!r}.")


def with_noise(y: Tensor, noise: float, seed: int) -> Tensor:
    """Add normal noise with a deviation of ``noise`` to measurements [N, ...]. It is drawn with the seeds from ``seed``
    on, but differs from the noise that samples with these seeds start from."""
    generators = [torch.Generator().manual_seed(seed + _NOISE + i) for i in range(len(y))]
    drawn = [torch.randn(y.shape[1:], generator=generator) for generator in generators]
    return y + noise * torch.stack(drawn)


def unconditional(config: DictConfig, models: Models, outputs: Outputs, given: Tensor | None) -> Problem:
    """Draw images from the prior alone."""
    return Problem(_numbered(config), None)


Task = Callable[[DictConfig, Models, Outputs, Tensor | None], Problem]

TASKS: dict[str, Task] = {task.__name__: task for task in (reconstruct, edit, sweep, generate, restore, unconditional)}


def find_task(name: str) -> Task:
    """Return a task by its name, or the user's own by its module: ``my_module.my_task``.

    Raises:
        InputError: If there is no such task.
    """
    if name in TASKS:
        return TASKS[name]
    if "." not in name:
        raise InputError(f"there is no task {name!r}{nearest(name, TASKS)}; one's own is named as module.function.")
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"the task {name} can't be imported: {error}.") from error


def checked_images(images: Tensor, models: Models) -> Tensor:
    """Return images [N, C, H, W] in [-1, 1] as float32 on the CPU.

    Raises:
        InputError: If they have another type, shape or range.
    """
    shape = tuple(models.prior.image_shape)
    if not isinstance(images, Tensor):
        raise InputError(f"expected images as a torch.Tensor, got {type(images).__name__}.")
    if images.ndim != 4 or tuple(images.shape[1:]) != shape or len(images) == 0:
        raise InputError(f"expected images of shape [N, {', '.join(map(str, shape))}], got {list(images.shape)}.")
    if not images.is_floating_point() or not images.isfinite().all() or images.abs().max() > 1.5:
        raise InputError(
            f"expected finite floating-point images in [-1, 1], got {images.dtype} from {images.min()} to "
            f"{images.max()}; convert 8-bit ones by `images / 127.5 - 1`."
        )
    return images.detach().float().cpu()


def _given_images(config: DictConfig, models: Models, given: Tensor | None) -> tuple[list[str], Tensor, str]:
    """Return names, images and a label: of the user's images, if there are any, or of the run's held-out ones."""
    shape = models.prior.image_shape
    if given is not None:
        return [f"{i:05d}" for i in range(len(given))], given, "given"
    if config.images is not None:
        return *own_images(config.images, config.first, config.count, shape), "given"
    if models.run is None:
        raise InputError(f"task={config.task} needs images: give your own, images=<files or folder>, or run=<folder>.")
    if models.run.source.image_shape != tuple(shape):
        raise InputError(
            f"the run's images have the shape {models.run.source.image_shape}, but the prior draws {tuple(shape)}: "
            "give your own images, images=<files or folder>."
        )
    return *held_out(models.run.source, config.first, config.count), "held-out"


def _numbered(config: DictConfig) -> list[str]:
    """Return the names of samples that don't come from an image.

    Raises:
        InputError: If images are given.
    """
    if config.images is not None:
        raise InputError(
            f"task={config.task} draws new images and takes none: leave `images` out, or choose task=edit."
        )
    return [f"{config.first + i:05d}" for i in range(config.count or 16)]


def _quantile(config: DictConfig) -> float:
    quantile = config[config.task].quantile
    if isinstance(quantile, bool) or not isinstance(quantile, int | float) or not 0 < quantile < 1:
        raise InputError(f"{config.task}.quantile must lie between 0 and 1, got {quantile!r}.")
    return quantile


def _set(
    config: DictConfig, models: Models, y: Tensor, share: float | Literal["likely"], wanted: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """Set names in outputs, see :func:`set_values`; warn of values that may be a mistake, or that can't be drawn."""
    known, readout, option = models.training_outputs, models.readout, f"{config.task}.set"
    given = wanted or config[config.task].set
    y, edited = set_values(y, readout, given, option, known, quantile=_quantile(config), share=share)
    said = [readout.doubt(str(name), value) for name, value in wanted.items()]
    if known is not None:
        places = list(readout.settings(wanted))
        said.append(beyond_range(y[:, places], places, readout, known))
        said.append(contradictions(y, places, readout, known))
    for sentence in filter(None, said):
        log.warning("%s", sentence)
    return y, edited


def _need_names(models: Models) -> tuple[str, ...]:
    need_operator(models)
    if not models.readout.names:
        raise InputError(
            "this task sets outputs by name, but the operator's have none: choose operator=trained (with "
            "run=<folder>) or operator=spnn_celebahq_256."
        )
    return models.readout.names


def picture_of(operator: Surjection, y: Tensor) -> Tensor:
    """Show a measurement as an image: unchanged if it is one already, otherwise its pseudo-inverse."""
    if y.ndim == 4 and y.shape[1] in (1, 3):
        return y
    return operator.cpu().pinv(y)


def _settings(values: Mapping[str, Any], readout: Readout) -> str:
    """The settings as text, one line each."""
    lines = []
    for name, value in values.items():
        if isinstance(value, bool):
            value = "yes" if value else "no"
        elif not isinstance(value, str):
            place, *more = readout.places(str(name))
            if not more:  # with more places, it is a class whose name is a number
                value = f"{value:+g}" if readout.part(place).grouped else readout.number(place, value)
        lines.append(f"{name} {value}")
    return "\n".join(lines)
