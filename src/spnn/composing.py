"""A command's config from Python: what its command line would compose, without the command."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose
from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import spnn.entry  # noqa: F401 - registers the resolvers that configs use
from spnn.checking import names_of
from spnn.errors import InputError, nearest, nearest_path
from spnn.search_path import config_folders, searching

__all__ = ["composed"]


def composed(name: str, choices: Sequence[str] = (), values: Mapping[str, Any] | None = None) -> DictConfig:
    """Compose ``conf/<name>.yaml``.

    Arguments:
        name: Of the command: train, sample, evaluate.
        choices: Options of groups, as on the command line: ``guidance=naive``.
        values: Full names to values: ``{"sampler.steps": 20}``; those that are None change nothing.

    Raises:
        InputError: If there is no such option, or it can't have that value.
    """
    with searching(config_folders()):
        try:
            config = compose(name, list(choices))
        except MissingConfigException as error:
            option = str(error.missing_cfg_file).rpartition("/")[2]
            options = error.options or []
            hint = nearest(option, options) or f"; choose from {', '.join(options)}"
            raise InputError(f"no option {option!r}{hint}.") from None
        except ConfigCompositionException as error:
            raise InputError(f"can't compose {' '.join(choices)}: {error}") from None
    for key, value in (values or {}).items():
        if value is None:
            continue
        try:
            OmegaConf.update(config, key, value)
        except OmegaConfBaseException:
            known = names_of(OmegaConf.to_container(config))
            raise InputError(f"no option {key!r}{nearest_path(key, known)}, or it can't be {value!r}.") from None
    return config
