"""What the entry scripts share: Hydra, with errors that a user can mend shown as their message alone."""

import functools
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.errors import CompactHydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from spnn.errors import InputError, NonFiniteLossError

__all__ = ["entry_point"]

# Without it the kernel maps the memory of each large tensor anew, page by page: a fifth of a training step on CPUs.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# What these say doesn't hold for batches that are one indexing of an array, or is said better by the config.
_IRRELEVANT_WARNINGS = [
    ".*isinstance.treespec, LeafSpec.*",
    ".*does not have many workers.*",
    ".*number of training batches .* is smaller than the logging.*",
]

CONFIGS = Path(__file__).parents[2] / "conf"


def fast_precision() -> str:
    """``bf16-mixed`` where the hardware multiplies bfloat16 natively, ``32-true`` elsewhere."""
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if native else "32-true"


OmegaConf.register_new_resolver("fast_precision", fast_precision)
OmegaConf.register_new_resolver("or", lambda *values: next((value for value in values if value is not None), None))


def entry_point(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Turn ``f(config)`` into a command that composes ``conf/<config_name>.yaml`` with the command line."""

    def decorate(function: Callable[[DictConfig], Any]) -> Callable[[], None]:
        @hydra.main(config_path=str(CONFIGS), config_name=config_name, version_base="1.3")
        @functools.wraps(function)
        def command(config: DictConfig) -> Any:
            logging.captureWarnings(True)
            for message in _IRRELEVANT_WARNINGS:
                warnings.filterwarnings("ignore", message)
            # Lightning's tips and lists of absent devices; its warnings come through.
            logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
            # Full precision where it is asked for: rounding to TF32 would break g g† = identity.
            torch.backends.cudnn.allow_tf32 = False
            try:
                return function(config)
            except (InputError, NonFiniteLossError) as error:
                # Hydra prints exceptions of this kind without a traceback.
                raise CompactHydraException(str(error)) from error
            except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
                # What stands before and in the lines below names OmegaConf's types.
                what = "Missing" + str(error).partition("\n")[0].rpartition("Missing")[2]
                raise CompactHydraException(f"{what}; see `python {config_name}.py --help`.") from None

        return command

    return decorate
