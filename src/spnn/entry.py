"""What the entry scripts share: Hydra, with errors that a user can mend shown as their message alone."""

import errno
import functools
import logging
import os
import platform
import signal
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from spnn.errors import InputError, NonFiniteLossError

__all__ = ["entry_point", "job_folder"]

# Without it the kernel maps the memory of each large tensor anew, page by page: a fifth of a training step on CPUs.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# What these say doesn't hold for batches that are one indexing of an array, or is said better by the config.
_IRRELEVANT_WARNINGS = [
    ".*isinstance.treespec, LeafSpec.*",
    ".*does not have many workers.*",
    ".*number of training batches .* is smaller than the logging.*",
    ".*your dataloader is not resumable.*",
]

# What a disk that is full, or a folder that must not be written, answers.
_WRITE_ERRORS = {
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS
}  # fmt: skip

CPUINFO = Path("/proc/cpuinfo")
CONFIGS = Path(__file__).parents[2] / "conf"


def fast_precision() -> str:
    """``bf16-mixed`` where the hardware multiplies bfloat16 faster than float32, else ``32-true``."""
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Intel's cores have a fast unit for it, AMX, which a virtual machine may hide; their AVX-512 alone is slower in
        # bfloat16 (a UNet's step takes 1.6 times as long), AMD's is faster.
        amd = "AMD" in platform.processor() or (CPUINFO.exists() and "AuthenticAMD" in CPUINFO.read_text())
        fast = torch.cpu._is_amx_tile_supported() or (amd and torch.cpu._is_avx512_bf16_supported())
    return "bf16-mixed" if fast else "32-true"


def started() -> str:
    """When the command was started, the same in the processes that it starts on several devices."""
    return os.environ.setdefault("SPNN_STARTED", datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))


OmegaConf.register_new_resolver("fast_precision", fast_precision)
OmegaConf.register_new_resolver("started", started)
OmegaConf.register_new_resolver("cores", lambda most: min(most, len(os.sched_getaffinity(0))))
OmegaConf.register_new_resolver("or", lambda *values: next((value for value in values if value is not None), None))


def job_folder(config: DictConfig) -> str:
    """Where a command's results go: ``config.folder``, or a multirun's folder for this job."""
    hydra_config = HydraConfig.get()
    return hydra_config.runtime.output_dir if hydra_config.mode == RunMode.MULTIRUN else config.folder


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
            except SIGTERMException:  # Lightning has ended in good order, but not with the work
                raise SystemExit(128 + signal.SIGTERM) from None
            except OSError as error:
                if error.errno not in _WRITE_ERRORS:
                    raise
                place = error.filename or config.get("folder")
                raise CompactHydraException(
                    f"can't write to {place}: {error.strerror}. Free space, or choose another `folder`."
                ) from error
            except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
                # What stands before and in the lines below names OmegaConf's types.
                what = "Missing" + str(error).partition("\n")[0].rpartition("Missing")[2]
                raise CompactHydraException(f"{what}; see `python {config_name}.py --help`.") from None

        return command

    return decorate
