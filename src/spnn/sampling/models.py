"""The models that sampling works with: a prior, an operator and a judge, from a run or from elsewhere."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from spnn.configs import blanks, instantiate, needs_training
from spnn.diffusion.denoiser import ImagePrior
from spnn.errors import InputError, told
from spnn.menu import program
from spnn.networks import SPNN
from spnn.outputs import TrainingOutputs
from spnn.readout import VALUES, Binary, Readout
from spnn.runs import Run
from spnn.runs.embedded import embedded_runs
from spnn.surjection import Surjection

log = logging.getLogger(__name__)

_TRIED = ("spnn.", "torch.", "deepinv.")  # modules whose surjections are known to be right
_INEXACT = 0.01  # of an output's length: more than rounding, or an iterative solver, leaves

__all__ = ["Models", "freeze", "load_models", "need_operator", "readout_of", "with_operator"]


@dataclass(frozen=True)
class Models:
    """Models with frozen weights.

    Attributes:
        prior: ``(x_t, t) -> Denoised``, with ``image_shape`` and ``schedule``.
        operator: The surjection; None if there is none.
        readout: What the operator's outputs mean; if it has no names, the operator was not trained to predict labels.
        judge: A classifier of the same labels that guidance never sees, if the run has one.
        run: The run, if one was given.
        trained_in: The run that trained the operator, if there is one.
    """

    prior: ImagePrior
    operator: Surjection | None
    readout: Readout
    judge: nn.Module | None
    run: Run | None
    trained_in: Run | None = None

    @property
    def training_outputs(self) -> TrainingOutputs | None:
        """Statistics of the operator's outputs for training images, if a run trained it."""
        return None if self.trained_in is None else self.trained_in.training_outputs

    def fingerprint(self) -> Tensor:
        """Numbers that differ if the weights of the prior or the operator differ, [n, 2]."""
        tensors = [t for model in (self.prior, self.operator) if model is not None for t in model.state_dict().values()]
        exact = (t.cpu().double() for t in tensors if t.numel())  # on the CPU: not every GPU supports doubles
        found = [torch.stack([t.sum(), t.square().sum()]) for t in exact]
        return torch.stack(found) if found else torch.zeros(0, 2)

    @property
    def kept_training_outputs(self) -> TrainingOutputs | None:
        """The same statistics, if that run has kept them."""
        return None if self.trained_in is None else self.trained_in.kept_training_outputs


def load_models(config: DictConfig) -> Models:
    """Load ``config.prior`` and ``config.operator``, and the judge of ``config.run``.

    Raises:
        InputError: If a model is missing or untrained, or they are for images of different shapes.
    """
    run = Run(config.run) if config.run else None
    if run is not None and config.data.root is not None:
        run.move_data(config.data.root)
    prior = _load_prior(config.prior, run)
    operator: Surjection | None = None
    readout: Readout = VALUES
    owner: Run | None = None
    if "_target_" in config.operator:
        operator = instantiate(config.operator, **blanks(config.operator, image_shape=prior.image_shape))
        readout = readout_of(operator)
    elif config.operator.run is not None or (run is not None and run.has("surjection")):  # some tasks need none
        owner = _need(config.operator.run, run, "operator")
        operator, readout = owner.surjection(), owner.source.readout
    shape = getattr(operator, "image_shape", prior.image_shape)
    judge = None
    if run is not None and readout.names == run.source.readout.names and shape == run.source.image_shape:
        judge = run.judge()
    elif run is not None and readout.names and run.has("judge"):
        log.warning(
            "the judge of %s is for other labels, another order of them or another size: it is left out", run.folder
        )
    return freeze(Models(prior, operator, readout, judge, run, owner))


def need_operator(models: Models) -> Surjection:
    """Return the operator.

    Raises:
        InputError: If there is none.
    """
    if models.operator is None:
        raise InputError(
            "this task needs an operator: run=<folder> of a run that has trained one, or another choice of `operator`, "
            "such as operator=super_resolution."
        )
    return models.operator


def check_right_inverse(operator: Surjection, image_shape: Sequence[int]) -> None:
    """Raise InputError if an operator fails on images, or its pseudo-inverse is not a right inverse."""
    name = type(operator).__name__
    weight = next((parameter for parameter in operator.parameters()), torch.empty(0))
    x = 2 * torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0)).to(weight) - 1
    with told(f"the operator {name} fails on images of shape {list(x.shape)}"), torch.no_grad():
        y = operator(x)
        error = ((operator(operator.pinv(y)) - y).norm() / y.norm()).item()
    if not error < _INEXACT:
        raise InputError(
            f"{name}.pinv(y) is not a right inverse: for outputs y of random images, g(g†(y)) differs from y by "
            f"{100 * error:.2g} %. Check that forward and inverse, or pinv, fit each other."
        )


def freeze(models: Models) -> Models:
    """Put the models in evaluation mode and turn off the gradients of their weights, in place.

    Raises:
        InputError: If a model lacks what it needs, or they are for images of different shapes.
    """
    prior, operator = models.prior, models.operator
    if not isinstance(prior, nn.Module) or not hasattr(prior, "image_shape") or not hasattr(prior, "schedule"):
        raise InputError(
            f"the prior must be a module with image_shape and schedule, such as UNetPrior, got {type(prior).__name__}."
        )
    if operator is not None and not (isinstance(operator, nn.Module) and hasattr(operator, "pinv")):
        raise InputError(
            f"the operator must be a Surjection, a module with pinv(y), such as those of spnn.operators, got "
            f"{type(operator).__name__}."
        )
    shape = getattr(operator, "image_shape", prior.image_shape)
    if tuple(shape) != tuple(prior.image_shape):
        raise InputError(
            f"the operator is for images of shape {tuple(shape)}, but the prior draws images of shape "
            f"{tuple(prior.image_shape)}: choose a prior and an operator that fit each other."
        )
    if operator is not None and any(not type(part).__module__.startswith(_TRIED) for part in operator.modules()):
        check_right_inverse(operator, shape)
    for model in (prior, operator, models.judge):
        if model is not None:
            model.eval().requires_grad_(False)
    return models


def with_operator(models: Models, operator: Surjection) -> Models:
    """Return the models with another operator, and without the judge, which doesn't know that operator's outputs.

    Raises:
        InputError: If it doesn't fit the prior.
    """
    return freeze(replace(models, operator=operator, readout=readout_of(operator), judge=None, trained_in=None))


def _load_prior(config: DictConfig, run: Run | None) -> ImagePrior:
    if "_target_" not in config:  # prior=trained
        return _need(config.run, run, "prior").prior()
    if needs_training(config):
        raise InputError(
            "this prior has no weights yet: sampling takes a run's prior (prior=trained), which "
            f"`{program('train', 'stages=[prior]')}` trains, or one from elsewhere, such as prior=ddpm_celebahq_256."
        )
    if run is not None:
        return run.instantiate(config)
    if "source" in config and config.source is None:
        raise InputError("this prior is fitted to a run's data: give its folder, run=<folder>.")
    return instantiate(config)


def readout_of(operator: Surjection | None) -> Readout:
    """What an operator's outputs mean: a network's are logits, named or else numbered; any other operator's, values."""
    if not isinstance(operator, SPNN):
        return VALUES
    return Binary(operator.names or [f"output_{i}" for i in range(operator.num_outputs)])


def _need(folder: str | Path | None, run: Run | None, what: str) -> Run:
    if folder is not None:
        return Run(folder)
    if run is None:
        raise InputError(
            f"{what}=trained comes from a run: give its folder, run=<folder>, or one that comes with the package, "
            f"{' or '.join(f'run={name}' for name in embedded_runs())}; without a run, choose another {what}, such as "
            f"{'prior=ddpm_celebahq_256' if what == 'prior' else 'operator=spnn_celebahq_256'}."
        )
    return run
