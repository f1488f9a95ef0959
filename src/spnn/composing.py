"""Compose a command's config from Python, just as its command line would."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

import spnn.entry  # noqa: F401 - registers the resolvers that configs use
from spnn.checking import check, names_of
from spnn.errors import InputError, choice, nearest_path
from spnn.search_path import config_folders, searching

__all__ = ["composed"]


def composed(name: str, choices: Sequence[str] = (), values: Mapping[str, Any] | None = None) -> DictConfig:
    """Compose ``conf/<name>.yaml``, and check it as the command does.

    Arguments:
        name: The name of the command: train, sample, evaluate.
        choices: Choices of groups, as on the command line: ``guidance=naive``.
        values: Full names to values: ``{"sampler.steps": 20}``; None is null.

    Raises:
        InputError: If there is no such option, or it can't have that value.
    """
    if isinstance(choices, str) or not all(isinstance(choice, str) and "=" in choice for choice in choices):
        raise InputError(f"choices are a list of `group=option`, such as ['guidance=naive'], got {choices!r}.")
    with searching(config_folders()):
        try:
            config = compose(name, list(choices), return_hydra_config=True)
        except MissingConfigException as error:
            option = str(error.missing_cfg_file).rpartition("/")[2]
            raise InputError(f"no option {option!r}{choice(option, error.options or [])}.") from None
        except (HydraException, ConfigCompositionException, ValueError) as error:
            raise InputError(f"can't compose {' '.join(choices)}: {error}") from None
        values = dict(values or {})
        with open_dict(config):
            hydra = config.pop("hydra")
        hydra.overrides.task += [f"{key}=" for key in values]  # tells the check which values aren't defaults
        for key, value in values.items():
            _set(config, key, value)
        check(config, hydra)
    return config


def _set(config: DictConfig, key: str, value: Any) -> None:
    try:
        OmegaConf.update(config, key, value)
    except OmegaConfBaseException as error:
        known = list(names_of(OmegaConf.to_container(config)))
        if key in known:
            raise InputError(f"{key} can't be {value!r}: {str(error).splitlines()[0]}") from None
        raise InputError(f"no option {key!r}{nearest_path(key, known)}.") from None
