"""The commands in memory: a session draws, edits, restores and evaluates without a results folder or a new process.

::

    run = Session.load("outputs/mine")
    images, y = run.held_out(4)
    edited = run.edit(images, {"Smiling": "yes"}, steps=50, seed=0)
    edited.images, edited.metrics["edit_success"]          # a notebook shows its pictures
    run.evaluate("reconstruction", count=100)["judge_agreement"]

Each call composes the same config as the corresponding command, so it draws the same images. It runs in one process, on
the fastest device. Progress is logged: ``logging.basicConfig(level="INFO")`` shows it.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import HfApi, snapshot_download
from omegaconf import DictConfig
from torch import Tensor, nn

from spnn.composing import composed
from spnn.configs import instantiate
from spnn.diffusion.denoiser import ImagePrior
from spnn.diffusion.guidance import Guidance
from spnn.diffusion.sampler import Step
from spnn.errors import InputError
from spnn.evaluation.findings import Findings
from spnn.evaluation.run import conclude
from spnn.networks.pretrained import clear_errors
from spnn.outputs import outputs_of
from spnn.readout import Binary, Readout
from spnn.runs.embedded import DEFAULT, folder_of
from spnn.runs.pack import pack
from spnn.sampling.drawn import Drawn, look_at
from spnn.sampling.generate import generate
from spnn.sampling.images import held_out
from spnn.sampling.models import Models, freeze, load_models, readout_of
from spnn.sampling.run import check_options, prepare, say
from spnn.sampling.store import MemoryStore
from spnn.sampling.tasks import Problem, checked_images, need_operator
from spnn.settings import settings
from spnn.surjection import Surjection

__all__ = ["Drawn", "Evaluation", "Session"]

_NOT_OF_A_SESSION = {"run", "folder", "report", "save", "trajectory", "logger"} | {
    f"trainer.{option}" for option in ("devices", "num_nodes", "strategy")
}


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The results of a study.

    Attributes:
        findings: Its tables, charts and pictures.
    """

    findings: Findings

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The main figures, one dictionary per method or setting."""
        return self.findings.entries

    def __repr__(self) -> str:
        return "\n".join(map(str, self.entries))

    def __getitem__(self, name: str) -> Any:
        """Return a figure of the first entry, by its name."""
        if name not in self.entries[0]:
            raise InputError(f"there is no figure {name!r}; there are {', '.join(self.entries[0])}.")
        return self.entries[0][name]


class Session:
    """Models, and methods that work with them. The models are frozen and put in evaluation mode, in place.

    Arguments:
        prior: The diffusion prior.
        operator: The surjection ``g``; None to draw from the prior alone.
        judge: A classifier of the same labels that guidance never sees: images [N, C, H, W] to logits [N, K].
        readout: What the operator's outputs mean, or their names alone if they are logits. By default, a network's
            outputs are logits with its own names, or numbered if it has none; another operator's are plain values.

    Raises:
        InputError: If a model or the names don't fit the others.
    """

    models: Models
    choices: tuple[str, ...]
    values: dict[str, Any]

    def __init__(
        self,
        prior: ImagePrior,
        operator: Surjection | None = None,
        judge: nn.Module | None = None,
        *,
        readout: Readout | Sequence[str] | None = None,
    ):
        if readout is None:
            readout = readout_of(operator)
        elif not isinstance(readout, Readout):
            readout = Binary(readout)
        self.models, self.choices, self.values = freeze(Models(prior, operator, readout, judge, None)), (), {}
        names = readout.names
        if operator is None and (judge is not None or names):
            raise InputError("a judge and a readout are of an operator's outputs: give the operator, too.")
        if operator is None:
            return
        blank = torch.zeros(1, *prior.image_shape)
        shape = tuple(self.outputs(blank).shape[1:])
        if names and (shape != (len(names),) or len(set(names)) < len(names)):
            raise InputError(f"expected {shape} different names of the operator's outputs, got {list(names)}.")
        if judge is not None and (seen := tuple(outputs_of(judge, blank).shape[1:])) != shape:
            raise InputError(f"the judge's outputs have the shape {seen}, but the operator's {shape}.")

    temporary: tempfile.TemporaryDirectory | None = None
    """The folder of a run that is removed together with the session."""
    closed = False

    def __repr__(self) -> str:
        models = self.models
        shown = {"prior": models.prior, "operator": models.operator, "judge": models.judge}
        of = f"of {models.run.folder}: " if models.run else ""
        return f"Session({of}{', '.join(f'{name} {type(x).__name__}' for name, x in shown.items() if x is not None)})"

    @classmethod
    def load(cls, run: str | Path = DEFAULT, *choices: str) -> "Session":
        """Load the models of a run's folder, or others: ``Session.load("outputs/mine", "operator=super_resolution")``.
        Without a folder, load the models of rendered faces that come with the package; ``"digits"`` comes with it, too.

        Raises:
            InputError: If there is no such run, or it lacks a model.
        """
        session = cls.__new__(cls)
        session.choices, session.values = choices, {"run": str(folder_of(run).absolute())}
        session.models = load_models(session._composed("sample", (), {}))
        return session

    @classmethod
    def train(cls, *choices: str, folder: str | Path | None = None, **values: Any) -> "Session":
        """Train a run as ``train.py`` does, and load it: ``Session.train("experiment=digits", seed=1)``.

        Arguments:
            *choices: As for ``train.py``.
            folder: The run's folder; None for one that is removed together with the session.
            **values: Options of ``train.py`` itself.

        Raises:
            InputError: If an option is unknown, or no prior would be trained.
        """
        from spnn.training import train  # imports Lightning's training, which sampling doesn't need

        if folder is not None and Path(folder).is_file():
            raise InputError(f"the run needs a folder, but {folder} is a file.")
        temporary: tempfile.TemporaryDirectory | None = None
        if folder is None:
            temporary = tempfile.TemporaryDirectory()
            folder = Path(temporary.name, "run")
        folder = Path(folder)
        config = composed("train", choices, {**values, "folder": str(folder)})
        if "prior" not in config.stages and config.from_run is None:
            raise InputError(f"a session draws from a prior, but stages={list(config.stages)} trains none: add prior.")
        train(config, folder, said=list(choices))
        session = cls.load(folder)
        session.temporary = temporary
        return session

    @classmethod
    def from_pretrained(cls, folder_or_repository: str | Path, *choices: str, **options: Any) -> "Session":
        """Load the models of a packed run from a folder or from a repository on the Hugging Face hub, which is
        downloaded if it is not in the hub's cache.

        Arguments:
            folder_or_repository: A folder that :meth:`save_pretrained` wrote, or a repository that :meth:`push_to_hub`
                published.
            *choices: As for :meth:`load`.
            **options: Passed to :func:`huggingface_hub.snapshot_download`, such as ``revision`` and ``token``.

        Raises:
            InputError: If it can't be downloaded, is no run, or its config refers to code of other packages.
        """
        if not folder_of(folder_or_repository).is_dir():
            with clear_errors(folder_or_repository, "a run"):
                folder_or_repository = snapshot_download(str(folder_or_repository), **options)
        return cls.load(folder_or_repository, *choices)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the session's run to a folder: models in half precision, config, and a model card, ``README.md``.

        Raises:
            InputError: If the session has no run, or the folder exists.
        """
        if self.models.run is None:
            raise InputError("only a run can be saved: its config says how to build the models again.")
        return pack(self.models.run, folder)

    def push_to_hub(self, repository: str, *, private: bool = False, token: str | None = None) -> str:
        """Publish the folder that :meth:`save_pretrained` writes; return its address. Mind the licence of the data.

        Raises:
            InputError: If the session has no run.
        """
        with tempfile.TemporaryDirectory() as temporary:
            folder = self.save_pretrained(Path(temporary, repository.rpartition("/")[2]))
            hub = HfApi(token=token)
            hub.create_repo(repository, private=private, exist_ok=True)
            return str(hub.upload_folder(repo_id=repository, folder_path=folder))

    def close(self) -> None:
        """Remove the temporary folder of :meth:`train`, if there is one; the session can't be used after that."""
        if self.temporary is not None:
            self.temporary.cleanup()
            self.closed = True

    def held_out(self, count: int, first: int = 0) -> tuple[Tensor, Tensor | None]:
        """Return images of the run's test split, [N, C, H, W] in [-1, 1], and the operator's outputs, [N, ...].

        Raises:
            InputError: If there is no run, or there are too few images.
        """
        if self.models.run is None:
            raise InputError("held-out images come from a run: make the session by Session.load(<folder>).")
        _, images = held_out(self.models.run.source, first, count)
        return images, self.outputs(images) if self.models.operator is not None else None

    def outputs(self, images: Tensor) -> Tensor:
        """Return the operator's outputs for images [N, C, H, W] in [-1, 1], [N, ...].

        Raises:
            InputError: If there is no operator, or the images have another type, shape or range.
        """
        operator = need_operator(self.models)
        with settings():
            return outputs_of(operator, checked_images(images, self.models))

    def reconstruct(self, images: Tensor | None = None, **options: Any) -> Drawn:
        """Draw images from nothing but the operator's outputs for given images; options as for :meth:`draw`."""
        return self.draw("reconstruct", images, **options)

    def edit(
        self,
        images: Tensor | None,
        set: Mapping[str, Any],
        *,
        others: str | float | None = None,
        quantile: float = 0.95,
        **options: Any,
    ) -> Drawn:
        """Set labels of images: ``{"Smiling": "yes", "Male": 2.5}``.

        Arguments:
            images: See :meth:`draw`.
            set: Name to yes, no, a logit or a probability such as "98%"; for numbers, a number, low or high; for
                classes, ``{"class": "cat"}``; for maps, ``{"hair": "[2:4,3]"}``; for boxes, ``{"add": "dog 0.5 0.5 0.3
                0.4"}``.
            others: How the other outputs follow: keep, likely, follow, free, or a share of following.
            quantile: ``yes`` stands for this quantile of the training images that have the label, and ``no`` for the
                opposite one of those that lack it; ``high`` and ``low`` are the same quantiles of all training images.
            **options: Passed to :meth:`draw`.
        """
        values = {"edit.set": _plain(set), "edit.others": others, "edit.quantile": quantile}
        return self.draw("edit", images, **_with(options, values))

    def sweep(self, images: Tensor | None, set: str | Mapping[str, Sequence[Any]], **options: Any) -> Drawn:
        """Set a label of images to several values in turn: ``"Smiling"``, from low to high, or
        ``{"Smiling": ["no", 0, "yes"]}``. All samples of one image come before those of the next.

        Arguments:
            images: See :meth:`draw`.
            set: A name, or a name and its values, as in :meth:`edit`.
            **options: Passed to :meth:`draw`.
        """
        if isinstance(set, Mapping):
            set = {
                name: list(x) if isinstance(x, Sequence) and not isinstance(x, str) else x for name, x in set.items()
            }
        return self.draw("sweep", images, **_with(options, {"sweep.set": set}))

    def generate(
        self,
        set: Mapping[str, Any],
        count: int = 16,
        *,
        others: str | None = None,
        quantile: float = 0.95,
        **options: Any,
    ) -> Drawn:
        """Draw new images that show some labels; the others are ``random``, as in training images, or ``free``.
        Arguments as in :meth:`edit`."""
        values = {"generate.set": _plain(set), "generate.others": others, "generate.quantile": quantile, "count": count}
        return self.draw("generate", **_with(options, values))

    def unconditional(self, count: int = 16, **options: Any) -> Drawn:
        """Draw images from the prior alone."""
        return self.draw("unconditional", **_with(options, {"count": count}))

    def solve(self, y: Tensor, **options: Any) -> Drawn:
        """Draw images whose outputs are ``y``, [N, ...]: any inverse problem of the session's operator.

        Raises:
            InputError: If there is no operator, or ``y`` can't be its output.
        """
        expected = self.outputs(torch.zeros(1, *self.models.prior.image_shape)).shape[1:]
        if not isinstance(y, Tensor) or not y.is_floating_point() or not y.isfinite().all():
            found = f"{y.dtype}, or values that are not finite" if isinstance(y, Tensor) else type(y).__name__
            raise InputError(f"expected outputs as a tensor of finite floating-point numbers, got {found}.")
        if y.shape[1:] != expected or len(y) == 0:
            raise InputError(f"expected outputs of shape [N, {', '.join(map(str, expected))}], got {list(y.shape)}.")
        names = [f"{i:05d}" for i in range(len(y))]
        return self.draw("reconstruct", problem=Problem(names, y.detach().float().cpu()), **options)

    def draw(
        self,
        task: str,
        images: Tensor | None = None,
        *,
        problem: Problem | None = None,
        steps: int | None = None,
        start: int | Literal["noise"] | None = None,
        seed: int = 0,
        per_target: int = 1,
        guidance: str | Callable[..., Guidance | None] | None = None,
        bound: float | None = None,
        values: Mapping[str, Any] | None = None,
        choices: Sequence[str] = (),
        watch: Callable[[float], None] | None = None,
        see: Callable[[Step], None] | None = None,
    ) -> Drawn:
        """Draw samples as ``sample.py task=<task>`` does.

        Arguments:
            task: reconstruct, edit, sweep, generate, restore or unconditional.
            images: The images to work on, [N, C, H, W] in [-1, 1]; None for the run's held-out ones.
            problem: A problem to solve instead of the one that the task poses.
            steps: The sampler's steps; None for the default.
            start: The step whose noise is put on the images to start from, or ``"noise"`` to start from noise alone;
                None for the task's default: 450 for edits, noise otherwise.
            seed: Target i starts from the noise of ``seed + i``.
            per_target: Samples per target.
            guidance: An option of ``conf/guidance``, or a callable that makes a guidance: ``(operator, y, free=,
                readout=)``.
            bound: The bound on each step's move, ``guidance.bound``; None for the guidance's own.
            values: Other options by their full names, including those of the guidance: ``{"guidance.stop": 0.1}``;
                None means null.
            choices: Other choices of config groups: ``["sampler=ddim"]``.
            watch: Called after each step with the share that is done, from 0 to 1; an exception that it raises ends the
                drawing.
            see: Called after each step of a batch with the step: ``place``, ``t`` from 999 to 0, and the corrected
                clean images ``x0``; an exception that it raises ends the drawing.

        Raises:
            InputError: If an option, an image or a name is missing or unknown.
        """
        if not (guidance is None or isinstance(guidance, str) or callable(guidance)):
            raise InputError(f"guidance is an option of conf/guidance, or makes one from a target, got {guidance!r}.")
        words = [f"task={task}", *([f"guidance={guidance}"] if isinstance(guidance, str) else [])]
        own: dict[str, Any] = {"seed": seed, "n_per_target": per_target}
        if steps is not None:
            own["sampler.steps"] = steps
        if bound is not None:
            own["guidance.bound"] = bound
        if start is not None:
            own["sampler.start"] = None if start == "noise" else start
        config = self._composed("sample", [*words, *choices], {**own, **(values or {})})
        check_options(config)
        with settings(config.trainer):
            made = guidance if guidance is None or callable(guidance) else instantiate(config.guidance)
            problem, asked = prepare(config, self.models, problem=problem, images=images, guidance=made)
            store = MemoryStore(asked.names)
            generate(self.models, asked, store, config, task, watch=watch, see=see)
            drawn = look_at(store.collect()["image"], problem, self.models, download=config.download)
            say(drawn, drawn.metrics, config)
            return drawn

    def evaluate(
        self,
        study: str = "reconstruction",
        *,
        values: Mapping[str, Any] | None = None,
        choices: Sequence[str] = (),
        **options: Any,
    ) -> Evaluation:
        """Run a study as ``evaluate.py study=<study>`` does.

        Arguments:
            study: An option of ``conf/study``.
            values: Other options by their full names: ``{"study.others": ["keep"]}``.
            choices: Other choices of config groups: ``["+guidance@methods.naive=naive"]``.
            **options: Options of ``evaluate.py`` itself: ``count=100``, ``seed=0``.

        Raises:
            InputError: If there is no run, it lacks a model, or an option can't be met.
        """
        config = self._composed("evaluate", [f"study={study}", *choices], {**options, **(values or {})})
        with settings(config.trainer):
            return Evaluation(conclude(instantiate(config.study), self.models, config))

    def _composed(self, name: str, choices: Sequence[str], values: Mapping[str, Any]) -> DictConfig:
        if self.closed:
            raise InputError("the session is closed, and its run's folder removed.")
        given = {*values, *(choice.lstrip("+~").partition("=")[0] for choice in (*self.choices, *choices))}
        if fixed := sorted(given & _NOT_OF_A_SESSION):
            raise InputError(
                f"{', '.join(fixed)}: a session has its run, works in one process and writes nothing. Make another by "
                "Session.load, or use the command."
            )
        return composed(name, [*self.choices, *choices], {**self.values, **values, "trainer.devices": 1})


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Labels' settings, with single values of tensors and arrays turned into numbers."""
    if not isinstance(values, Mapping):
        raise InputError(f"labels are set by a dictionary, such as {{'Smiling': 'yes'}}, got {values!r}.")
    return {
        name: value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
        for name, value in values.items()
    }


def _with(options: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Add values to the options of :meth:`Session.draw`."""
    return {**options, "values": {**values, **(options.get("values") or {})}}
