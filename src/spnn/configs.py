"""Turn configs into objects."""

import importlib.util
import os
import re
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import hydra.utils
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from spnn.errors import InputError

__all__ = ["blanks", "can_train", "check_trust", "instantiate", "merged", "needs_training", "plain", "read_config"]

WHERE = (
    "(A module of your own is found beside train.py, in the folder where `spnn` is called, or in one on PYTHONPATH: "
    "PYTHONPATH=<folder>.)"
)
"""A sentence on where Python looks for modules."""

_TRUSTED = tuple(
    f"{name}."
    for name in ("spnn", "torch.nn", "torch.optim", "torchvision", "lightning", "diffusers", "azula", "deepinv")
)


def read_config(path: Path) -> DictConfig:
    """Read a config file.

    Raises:
        InputError: If it holds a list.
    """
    config = OmegaConf.load(path)
    if not isinstance(config, DictConfig):
        raise InputError(f"{path} must hold options by their names, but it is a list.")
    return config


def plain(config: DictConfig, *, resolve: bool = True) -> dict[str, Any]:
    """A config as plain dictionaries and lists."""
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=resolve))


def merged(*configs: DictConfig | dict[str, Any]) -> DictConfig:
    """Merge configs; later ones take precedence."""
    return cast(DictConfig, OmegaConf.merge(*configs))


def instantiate(config: DictConfig, **arguments: Any) -> Any:
    """Call a config's ``_target_`` as Hydra does, with plain lists and dictionaries.

    Raises:
        InputError: If the target raises it, or refuses its arguments: users need to know what is wrong with their
            options, not where in the code.
    """
    try:
        return hydra.utils.instantiate(config, **arguments, _convert_="all")
    except InstantiationException as error:
        from lightning.fabric.utilities.exceptions import MisconfigurationException  # imports PyTorch, for seconds

        cause = error.__cause__
        if isinstance(cause, InputError):
            raise cause from None
        if isinstance(cause, TypeError | ValueError | MisconfigurationException):
            raise InputError(f"{config._target_}: {cause}") from error
        if "Error locating target" in str(error):
            name = match[1] if (match := re.search("'(.+?)'", str(cause or error))) else config._target_
            reason = str(cause).splitlines()[1] if cause else error
            raise InputError(f"{name} can't be imported: {reason}. {WHERE}") from error
        raise


def check_trust(config: DictConfig, where: object) -> None:
    """Raise InputError if a run's config, which may be somebody else's, names a package that no config of ours does:
    making its objects calls whatever it names. Modules outside Python's own folders are the user's, and trusted; so are
    the packages in the environment variable ``SPNN_TRUST``, separated by commas."""
    for target in _targets(OmegaConf.to_container(config)):
        package = target.partition(".")[0]
        if target.startswith(_TRUSTED) or package in os.environ.get("SPNN_TRUST", "").split(","):
            continue
        try:
            found = importlib.util.find_spec(package)
        except ValueError:  # such as __main__
            found = None
        places = [found.origin, *(found.submodule_search_locations or [])] if found else []
        if found and found.origin is None:  # folders without __init__.py; several may have the same name
            inner = target.split(".")[1]
            folders = found.submodule_search_locations or []
            places = [place for place in folders if [*Path(place).glob(f"{inner}.py"), *Path(place).glob(inner)]]
        installed = [sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")]
        if found and any(str(place).startswith((*installed, "built-in", "frozen")) for place in places):
            raise InputError(
                f"{where} would call {target}, which no config of this project names. If you trust whoever wrote it, "
                f"set the environment variable SPNN_TRUST={package}."
            )


def _targets(config: Any) -> Iterator[str]:
    for name, value in config.items() if isinstance(config, dict) else ():
        if name == "_target_" and isinstance(value, str):
            yield value
        yield from _targets(value)
    for value in config if isinstance(config, list) else ():
        yield from _targets(value)


def can_train(config: DictConfig) -> bool:
    """Whether the model that a config makes has anything to train."""
    if "_target_" not in config:
        return False
    target = hydra.utils.get_object(config._target_)
    return getattr(getattr(target, "__self__", target), "trainable", True)  # a class, or a class method's class


def needs_training(config: DictConfig) -> bool:
    """Whether a model's config makes new weights, which must be trained; other configs read or fit them."""
    return not getattr(hydra.utils.get_object(config._target_), "pretrained", True)


def blanks(config: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """The values that a config leaves open: those whose key it has as null."""
    return {key: value for key, value in values.items() if key in config and config[key] is None}
