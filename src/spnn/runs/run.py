"""A run: its folder, and what can be built from it."""

import json
import pkgutil
import shutil
import time
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from spnn.configs import blanks, check_trust, instantiate, needs_training, plain, read_config
from spnn.errors import InputError
from spnn.menu import program
from spnn.runs.embedded import embedded_runs, folder_of
from spnn.runs.record import read_status
from spnn.saving import replacing, save_json

# Modules that need PyTorch are imported where they are used, because listing runs doesn't need it.
if TYPE_CHECKING:
    from torch import nn

    from spnn.data import ImageData, Source
    from spnn.diffusion import ImagePrior
    from spnn.outputs import TrainingOutputs
    from spnn.surjection import Surjection

__all__ = ["Run", "flat", "noisy_judge_of", "stages_of", "trained_by"]

_TRAINS = {"task": "surjection", "inverse": "surjection", "prior": "prior", "judge": "judge"}  # for our own stages
_SECTION_OF = {"surjection": "network", "prior": "prior", "judge": "judge"}  # the config's section for each model

_UNKNOWN = object()
_OF_THE_PLACE = ("root", "cache", "cache_folder", "on_bad_image")  # options of sources
_OF_LABELS = ("labels", "grid", "readout", "classes")  # more options of sources, which don't matter to a prior


def stages_of(config: DictConfig, model: str) -> list[str]:
    """The stages that train a model, last one first. The stages in ``stages``, in their order, come after those that
    were run earlier."""
    row = [name for name in config.stage if trained_by(config, name) == model]
    return [*(name for name in row if name not in config.stages), *(name for name in config.stages if name in row)][
        ::-1
    ]


def trained_by(config: DictConfig, stage: str) -> str:
    """Which model a stage trains: ``surjection``, ``prior`` or ``judge``."""
    return _TRAINS.get(stage) or pkgutil.resolve_name(config.stage[stage].module._target_).trains


def noisy_judge_of(run: str | Path | None) -> "nn.Module":
    """The classifier of noisy images that a run has trained in place of a judge; its labels are in ``names``.

    Raises:
        InputError: If there is no such run, or it has no such classifier.
    """
    how = f"{program('train')} from_run=<run> folder=<another> stages=[judge] stage@stage.judge=judge_noisy"
    if run is None:
        raise InputError(f"no `run` with a classifier of noisy images is given: train one, {how}, and give its folder.")
    found = Run(run)
    if not (found.has_noisy_judge and found.has("judge")):
        raise InputError(f"{run} has trained no classifier of noisy images: {how}")
    judge = found._trained("judge")
    judge.names = found.source.readout.names
    return judge


def _what(config: DictConfig, section: str, model: str) -> dict[str, Any]:
    """A section's options by their dotted names, without those that don't change what a model learns: where and how
    data are stored and, for a prior, the options of labels."""
    options = plain(OmegaConf.select(config, section))
    without_effect = (*_OF_THE_PLACE, *(_OF_LABELS if (model, section) == ("prior", "data.source") else ()))
    return flat({key: value for key, value in options.items() if key not in without_effect}, section)


def _differing(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The options that have changed, by their dotted names, as text."""
    return [
        f"{key}={then.get(key, '(none)')}, now {now.get(key, '(none)')}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    ]


def flat(options: Any, prefix: str = "") -> dict[str, Any]:
    """Nested options by their dotted names."""
    if not isinstance(options, dict) or not options:
        return {prefix: options}
    return {
        key: value
        for name, inner in options.items()
        for key, value in flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()
    }


class Run:
    """A run's folder, and what can be built from it.

    Arguments:
        folder: The run's folder, or the name of a run that comes with the package.
        config: Its options; by default, those stored in the folder.

    Raises:
        InputError: If there is no run in that folder.
    """

    def __init__(self, folder: str | Path, config: DictConfig | None = None):
        self.folder = folder_of(folder)
        if config is not None:
            self.config = config
            return
        if not (self.folder / "config.yaml").is_file():
            found = sorted(str(path.parent) for path in Path("outputs").glob("**/run.json"))
            known = "\n  ".join(found) if found else f"none yet; `{program('train')}` makes one"
            raise InputError(
                f"{folder} is not a run's folder: it has no config.yaml. Runs in outputs/:\n  {known}\n"
                f"Included with the package: {', '.join(embedded_runs())}."
            )
        self.config = read_config(self.folder / "config.yaml")
        check_trust(self.config, self.folder / "config.yaml")

    @classmethod
    def create(cls, folder: str | Path, config: DictConfig, earlier: "Run | None" = None) -> "Run":
        """Make a run's folder and write its config; copy from an ``earlier`` run what ``config.stages`` don't train.

        Raises:
            InputError: If the folder already holds something that a run trained, or the earlier run's options differ.
        """
        folder = Path(folder)
        files = ("weights.safetensors", "checkpoints/*")  # a stage without these may be tried again
        if any(True for stage in config.stage for file in files for _ in (folder / stage).glob(file)):
            raise InputError(f"{folder} holds a run already, which would be overwritten: choose another `folder`.")
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "config.yaml") as unfinished:  # appears last: other processes wait for it
            OmegaConf.save(OmegaConf.merge(config, {"folder": str(folder)}), unfinished, resolve=True)
            run = cls(folder, read_config(unfinished))
            if earlier is not None:
                run.take_weights_from(earlier, but=config.stages)
        return run

    @classmethod
    def wait_for(cls, folder: str | Path, seconds: float = 600) -> "Run":
        """The run that another process, perhaps on another node, is making in a folder.

        Raises:
            InputError: If it isn't there after this many seconds.
        """
        end = time.monotonic() + seconds
        while not (Path(folder) / "config.yaml").exists() and time.monotonic() < end:
            time.sleep(0.2)
        return cls(folder)

    @property
    def title(self) -> str:
        """The run's name where its folder's path isn't shown."""
        return f"{self.config.name}/{self.folder.resolve().name}"

    @cached_property
    def source(self) -> "Source":
        """The image source that the run was trained on. The names and order of its labels are those at training time,
        even if the data's table has changed since."""
        source = instantiate(self.config.data.source)
        if (names := self.folder / "labels.json").exists():
            source.recall(json.loads(names.read_text(encoding="utf-8")))
        return source

    def keep_labels(self, source: "Source") -> None:
        """Use a source, and save what its labels are."""
        self.source = source
        save_json(source.facts(), self.folder / "labels.json")

    def move_data(self, root: str) -> None:
        """Set where the data are now."""
        for key in ("data.root", "data.source.root"):
            if OmegaConf.select(self.config, key, default=_UNKNOWN) is not _UNKNOWN:
                OmegaConf.update(self.config, key, root)

    def data(self, batch_size: int, batches: int | None = None) -> "ImageData":
        """The Lightning data module of the run, see :class:`~spnn.data.module.ImageData`."""
        from spnn.data import ImageData

        options = self.config.data
        return ImageData(
            self.source,
            batch_size,
            flip=options.get("flip", False),
            augment=None if options.get("augment") is None else instantiate(options.augment),
            batches=batches,
            num_workers=options.get("num_workers", 0),
            seed=self.config.seed,
        )

    def build(self, model: str) -> Any:
        """Build the run's ``surjection``, ``prior`` or ``judge`` with new weights, or the weights its config names."""
        from spnn.networks import SPNN

        section = self.config[_SECTION_OF[model]]
        made = self.instantiate(section, **({} if model == "prior" else {"outputs": len(self.source.label_names)}))
        if isinstance(made, SPNN):
            made.names, cells = self.source.label_names, self.source.readout.grid
            if cells is not None and made.grid not in ((1, 1), cells):
                raise InputError(
                    f"the network ends in {made.grid[0]}x{made.grid[1]} cells, but the data's maps have "
                    f"{cells[0]}x{cells[1]}: change network.grid and its plan, or the data's grid."
                )
        return made

    def instantiate(self, config: DictConfig, **arguments: Any) -> Any:
        """Instantiate a model's config for the run's data."""
        blank = blanks(config, source=self.source)
        return instantiate(config, image_shape=self.source.image_shape, **blank, **arguments)

    def surjection(self) -> "Surjection":
        """The trained surjection: from phase 2 if that has been run, else from phase 1."""
        return self._trained("surjection")

    def prior(self) -> "ImagePrior":
        """The trained prior; if none was trained, the pretrained one that the config names."""
        config = self.config.prior
        if not self.has("prior") and "_target_" in config and not needs_training(config):
            return self.build("prior").eval().requires_grad_(False)
        return self._trained("prior")

    def judge(self) -> "nn.Module | None":
        """The independent judge; None if the run hasn't trained one, or has trained a classifier of noisy images."""
        return self._trained("judge") if self.has("judge") and not self.has_noisy_judge else None

    @property
    def has_noisy_judge(self) -> bool:
        """Whether the run's judge was trained on noisy images, for guidance and not for judging."""
        made = pkgutil.resolve_name(self.config.stage.judge.module._target_) if "judge" in self.config.stage else None
        return getattr(made, "of_noisy_images", False)

    def has(self, model: str) -> bool:
        """Whether a stage that trains the model is finished."""
        return any(self.weights(stage).exists() for stage in stages_of(self.config, model))

    def _trained(self, model: str) -> Any:
        stages = stages_of(self.config, model)
        for stage in stages:
            if self.weights(stage).exists():
                module = self.build(model)
                self.load_weights(stage, module)
                return module.eval().requires_grad_(False)
        mend = f"Train it with `{program('train', f'from_run={self.folder}', f'stages=[{stages[-1]}]')}`."
        if set(stages) & set(self.config.stages):  # it was to be trained here
            status = read_status(self.folder).get("status")
            if status == "running":
                mend = "It is still being trained."
            elif status in ("interrupted", "failed"):
                mend = f"Go on with `{program('train', f'folder={self.folder}', 'resume=true')}`."
        raise InputError(
            f"{self.folder} has no trained {model}: no {' or '.join(stages)} stage was finished there. {mend}"
        )

    @cached_property
    def training_outputs(self) -> "TrainingOutputs | None":
        """Statistics of the trained surjection's outputs on training images, as phase 1 saved them; computed now if
        the run is older than that file. None for more than :data:`~spnn.outputs.MOST` outputs."""
        from spnn.outputs import MOST, TrainingOutputs

        if (found := self.kept_training_outputs) is not None or len(self.source.label_names) > MOST:
            return found
        self.source.prepare()
        return TrainingOutputs.of_images(self.surjection(), self.source.split("train"), self.source.readout)

    @property
    def kept_training_outputs(self) -> "TrainingOutputs | None":
        """The same statistics if phase 1 saved them, else None; never looks at the images."""
        from spnn.outputs import TrainingOutputs

        path = self.training_outputs_file
        return TrainingOutputs.load(path) if path.exists() else None

    @property
    def training_outputs_file(self) -> Path:
        """The file where phase 1 saves them. Phase 2 changes no output."""
        return self.folder / "task" / "training_outputs.safetensors"

    def weights(self, stage: str) -> Path:
        """The file with a finished stage's weights."""
        return self.folder / stage / "weights.safetensors"

    def save_weights(self, stage: str, model: "nn.Module") -> None:
        """Write a finished stage's weights, in one step."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
        try:
            with replacing(self.weights(stage)) as unfinished:
                save_file(tensors, unfinished)
        except SafetensorError as error:
            raise InputError(
                f"the weights {self.weights(stage)} can't be written: {error}. Free space and go on with resume=true."
            ) from error

    def load_weights(self, stage: str, model: "nn.Module") -> None:
        """Load a finished stage's weights into ``model``.

        Raises:
            InputError: If they don't fit.
        """
        from safetensors.torch import load_file

        try:
            model.load_state_dict(load_file(self.weights(stage)))
        except Exception as error:
            raise InputError(f"{self.weights(stage)} doesn't fit the model in {self.folder}: {error}") from error

    def continues(self, stage: str) -> bool:
        """Whether a stage starts from the weights of the one before it."""
        return pkgutil.resolve_name(self.config.stage[stage].module._target_).continues

    def take_weights_from(self, other: "Run", but: Collection[str] = ()) -> None:
        """Copy the weights that ``other`` has trained, so that this folder needs no other. The stages in ``but``, which
        will be run again, aren't copied; if one of them starts from new weights, no stage of its model is copied.

        Raises:
            InputError: If this run's options build a different model from the one that was trained.
        """
        for model in _SECTION_OF:
            stages = stages_of(self.config, model)
            anew = any(stage in but and not self.continues(stage) for stage in stages)
            taken = [] if anew else [s for s in stages if s not in but and other.weights(s).exists()]
            differing = [
                difference
                for section in ("data.source", _SECTION_OF[model])
                for difference in _differing(_what(other.config, section, model), _what(self.config, section, model))
            ]
            known = stages_of(other.config, model)
            if taken and (unknown := [s for s in known if s not in stages and other.weights(s).exists()]):
                raise InputError(
                    f"the {model} of {other.folder} was trained by {', '.join(unknown)}, too, which this run doesn't "
                    "know: choose the same experiment, or add the config of that stage."
                )
            if taken and differing:
                raise InputError(
                    f"the {model} of {other.folder} was trained with other options: {'; '.join(differing[:5])}. Give "
                    "the same ones, or retrain it."
                )
            files = [(other.weights(stage), self.weights(stage)) for stage in taken]
            if "task" in taken and other.training_outputs_file.exists():
                files.append((other.training_outputs_file, self.training_outputs_file))
            for source, copy in files:
                copy.parent.mkdir(exist_ok=True)
                with replacing(copy) as unfinished:
                    shutil.copyfile(source, unfinished)

    def metrics(self, stage: str) -> dict[str, float]:
        """A finished stage's metrics."""
        return self.all_metrics().get(stage, {})

    def save_metrics(self, stage: str, metrics: dict[str, Any]) -> None:
        """Add a stage's metrics to ``metrics.json``, in one step."""
        save_json(self.all_metrics() | {stage: metrics}, self.folder / "metrics.json")

    def all_metrics(self) -> dict[str, dict[str, float]]:
        """Each finished stage's metrics."""
        path = self.folder / "metrics.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def differences(self, config: DictConfig, but: Callable[[str], bool]) -> list[str]:
        """The options that differ between this run and ``config``, as text; ``but`` tells which names to skip."""
        mine, other = (
            {key: value for key, value in flat(plain(c)).items() if not but(key)} for c in (self.config, config)
        )
        return _differing(mine, other)
