"""From configs to objects."""

from collections.abc import Mapping
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from spnn.errors import InputError

__all__ = ["blanks", "can_train", "instantiate", "needs_training"]


def instantiate(config: DictConfig, **arguments: Any) -> Any:
    """Call a config's ``_target_`` as Hydra does, with plain lists and dictionaries.

    Raises:
        InputError: If the target raises it, or refuses its arguments: what is wrong with the options is the user's to
            know, not where.
    """
    try:
        return hydra.utils.instantiate(config, **arguments, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, InputError):
            raise cause from None
        if isinstance(cause, TypeError | ValueError | MisconfigurationException):
            raise InputError(f"{config._target_}: {cause}") from error
        raise


def can_train(config: DictConfig) -> bool:
    """Whether what a model's config makes has anything to train."""
    if "_target_" not in config:
        return False
    target = hydra.utils.get_object(config._target_)
    return getattr(getattr(target, "__self__", target), "trainable", True)  # of a class, or of a class method's class


def needs_training(config: DictConfig) -> bool:
    """Whether a model's config builds new weights; other configs read or fit them."""
    return not getattr(hydra.utils.get_object(config._target_), "pretrained", True)


def blanks(config: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """Those of the values that a config leaves open: its keys that are null."""
    return {key: value for key, value in values.items() if key in config and config[key] is None}
