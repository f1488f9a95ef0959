"""The base of the entry scripts: Hydra, with only the message shown for errors that a user can fix."""

import argparse
import errno
import functools
import io
import json
import logging
import os
import platform
import re
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from hydra_plugins.resuming_sweeps import folder_name
from spnn.checking import check, hint
from spnn.errors import InputError, NonFiniteLossError
from spnn.menu import menu, program
from spnn.runs.embedded import home
from spnn.search_path import config_folders

__all__ = ["entry_point", "job_folder"]

log = logging.getLogger(__name__)

# Without this, the kernel maps fresh memory for each large tensor, page by page: a fifth of a training step on CPUs.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# Hydra's own flags; its parser takes an unknown flag for an abbreviation of one of these.
_FLAGS = {
    "--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun", "--info",
    "--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun"
}  # fmt: skip

# The errors of a full disk, or of a folder that can't be written to.
_WRITE_ERRORS = {
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS
}  # fmt: skip

# Hydra finds our options for a launcher next to the plugin's own with the same name, and checks ours against those.
# That is intended.
warnings.filterwarnings("ignore", "(?s).*validated against ConfigStore schema with the same name")

CPUINFO = Path("/proc/cpuinfo")


def fast_precision(accelerator: str = "auto") -> str:
    """``bf16-mixed`` where the hardware multiplies bfloat16 faster than float32, else ``32-true``."""
    import torch  # here, because help doesn't need it

    if torch.cuda.is_available() and accelerator != "cpu":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Intel's cores have a fast unit for it, AMX, which a virtual machine may hide. Their AVX-512 alone is slower in
        # bfloat16 than in float32 (a UNet's step takes 1.6 times as long); AMD's is faster.
        amd = "AMD" in platform.processor() or (
            CPUINFO.exists() and "AuthenticAMD" in CPUINFO.read_text(encoding="utf-8")
        )
        fast = torch.cpu._is_amx_tile_supported() or (amd and torch.cpu._is_avx512_bf16_supported())
    return "bf16-mixed" if fast else "32-true"


def started() -> str:
    """When the command was started; the same in the processes that it starts for several devices."""
    return os.environ.setdefault("SPNN_STARTED", datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))


def cores(most: int) -> int:
    """The number of cores that this process may use, at most ``most``."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(most, allowed)


def job_name(overrides: str, sweep: str = "") -> str:
    """The name of the folder of a multirun's job below ``sweep``. It is made from the options, so the same job has the
    same name next time, and has only letters, digits, dots, dashes and underscores, so it needs no quotes on a command
    line. A folder made by an earlier version keeps its name."""
    earlier = folder_name(overrides, kept=",=")
    return earlier if (Path(sweep) / earlier).exists() else folder_name(overrides)


def named_after(target: str) -> str:
    """A run's name by the class of its data: ``spnn.data.ImageFolder`` gives ``image_folder``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", target.rpartition(".")[2]).lower()


OmegaConf.register_new_resolver("job_name", job_name)
OmegaConf.register_new_resolver("named_after", named_after)
OmegaConf.register_new_resolver("fast_precision", fast_precision)
OmegaConf.register_new_resolver("started", started)
OmegaConf.register_new_resolver("cores", cores)
OmegaConf.register_new_resolver("menu", lambda script: menu(script).replace("$", "$$"))  # for string.Template
OmegaConf.register_new_resolver("program", program)
OmegaConf.register_new_resolver("home", home)
OmegaConf.register_new_resolver("or", lambda *values: next((value for value in values if value is not None), None))


def job_folder(config: DictConfig) -> str:
    """The folder for a command's results: ``config.folder``, or the folder of this job in a multirun."""
    hydra_config = HydraConfig.get()
    return hydra_config.runtime.output_dir if hydra_config.mode == RunMode.MULTIRUN else config.folder


def entry_point(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Turn ``f(config)`` into a command that composes ``conf/<config_name>.yaml`` with the command line."""

    def decorate(function: Callable[[DictConfig], Any]) -> Callable[[], None]:
        @functools.wraps(function)
        def command() -> None:
            program, *words = sys.argv
            if words[:1] == [config_name]:  # `spnn train ...`
                del words[0]
            for word in words:
                if word.startswith("--") and word.partition("=")[0] not in _FLAGS:
                    raise SystemExit(f"no flag {word}: options are written without dashes, such as experiment=digits.")
            folders, given = config_folders(), _given_folder(words)
            words = _swept_below(_without_nulls(list(map(_quoted, words)), given + folders))
            for stream in (sys.stdout, sys.stderr):  # their encodings may lack characters that are in names
                if isinstance(stream, io.TextIOWrapper):
                    stream.reconfigure(errors="backslashreplace")
            for own in given or folders[:-1]:
                _check_yaml(own)
            full_error = "HYDRA_FULL_ERROR" in os.environ
            job = Job(function, config_name, sys.argv, full_error)
            main = folders[-1 if given else 0]
            run = hydra.main(config_path=str(main), config_name=config_name, version_base="1.3")(job)
            sys.argv = [program, *(f"--config-dir={folder}" for folder in folders[1:] if not given), *words]
            os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise errors instead of printing them
            try:
                run()
            except Exception as error:
                text = hint(error, config_name, [*given, *folders], words)
                if full_error or not (text or isinstance(error, CompactHydraException)):
                    raise
                if searched := given or folders[:-1]:
                    text += f"\n(Configs are looked for in {searched[0]} first, then in the package.)"
                raise SystemExit(text) from None

        return command

    return decorate


def _given_folder(words: list[str]) -> list[Path]:
    """The folder of configs that the command line adds, if any; if there is one, ``conf/`` here isn't searched."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path)
    given = parser.parse_known_args(words)[0].config_dir
    return [] if given is None else [given.resolve()]


def _without_nulls(words: list[str], folders: list[Path]) -> list[str]:
    """Translate or drop words of a command line that choose no option of a group, which Hydra can't express.

    Raises:
        SystemExit: If the group must have a choice.
    """
    kept = []
    for word in words:
        group, _, choice = word.partition("=")
        if word in ("logger=null", "logger=[]", "~logger"):
            kept.append("logger=none")
        elif choice != "null" or not any((folder / group.partition("@")[0]).is_dir() for folder in folders):
            kept.append(word)
        elif group not in ("experiment", "debug"):  # these have no choice by default
            also = "; a part of it is switched off by its name, such as callbacks.pictures=null" * (
                group == "callbacks"
            )
            raise SystemExit(f"{word}: this group needs a choice, see --help{also}.")
    return kept


def _quoted(word: str) -> str:
    """A word of a command line, with its value in quotes if Hydra would misread it: a path such as
    ``run=outputs/digits/seed=1``, or a value with other letters than a to z. Hydra takes no quoted names in
    dictionaries, so ``edit.set={Größe: high}`` becomes the list that means the same."""
    option, _, value = word.partition("=")
    if option.endswith(".set") and value[:1] == "{" and not value.isascii():
        with suppress(yaml.YAMLError):
            named = yaml.load(value, yaml.BaseLoader)  # values as they are written, yes and no among them
            if all(x and isinstance(x, str) for x in named.values()):
                return f"{option}=[{','.join(json.dumps(f'{k}={x}', ensure_ascii=False) for k, x in named.items())}]"
    words_alone = re.fullmatch(r"[\w./\\:+-]*", value)
    if value[:1] in "'\"[{" or (words_alone and value.isascii()):
        return word
    if not words_alone and "=" not in value and not Path(value).exists():
        return word
    return f"{option}='{value}'" if "'" not in value else f'{option}="{value}"'


def _swept_below(words: list[str]) -> list[str]:
    """The words of a command line; in a multirun, ``folder`` becomes the folder that contains the jobs' folders.

    Raises:
        SystemExit: If several folders are given.
    """
    flags = [word for word in words if word in ("-m", "--multirun")]
    if not flags:
        return words
    words = [*flags, *(word for word in words if word not in flags)]  # Hydra's parser refuses them after options
    if several := [word for word in words if re.match(r"folder=[^'\"]*,", word)]:
        raise SystemExit(f"{several[0]}: each job of a multirun has a folder of its own below `folder`; give one.")
    return [re.sub(r"^folder=", "hydra.sweep.dir=", word) for word in words]


def _check_yaml(folder: Path) -> None:
    """Exit with one sentence if a config in the folder isn't valid YAML; Hydra would show a traceback."""
    for path in sorted(folder.rglob("*.yaml")):
        try:
            yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise SystemExit(f"{path} can't be read as YAML: {error}") from None


class Job:
    """The function that Hydra calls with a composed config. It is a class so that the processes of any launcher can
    import it by name.

    Arguments:
        function: Does the work.
        script: The script whose main function it is.
        words: The whole command line, for the record and for the processes that Lightning starts with it.
        full_error: Whether to raise a user's mistakes as full errors, too.
    """

    def __init__(self, function: Callable[[DictConfig], Any], script: str, words: list[str], full_error: bool):
        functools.update_wrapper(self, function)
        self.function, self.script, self.words, self.full_error = function, script, words, full_error

    def __call__(self, config: DictConfig) -> Any:
        if not self.full_error:
            os.environ.pop("HYDRA_FULL_ERROR", None)
        sys.argv = self.words  # Hydra has parsed its part
        logging.captureWarnings(True)
        try:
            return with_readable_errors(self.function, config, self.script)
        except Exception as error:
            readable, failure = isinstance(error, CompactHydraException), error
        if readable and not self.full_error and HydraConfig.get().mode != RunMode.MULTIRUN:
            raise SystemExit(str(failure))  # without the text that Hydra prints around it
        raise failure


def with_readable_errors(function: Callable[[DictConfig], Any], config: DictConfig, script: str) -> Any:
    """Call ``function(config)``; errors that a user can fix become ones that Hydra prints without a traceback."""
    try:
        check(config, HydraConfig.get())
        return function(config)
    except (InputError, NonFiniteLossError) as error:
        raise CompactHydraException(str(error)) from error
    except (KeyboardInterrupt, SystemExit) as error:
        if KeyboardInterrupt in (type(error), type(error.__context__)):  # Lightning turns it into an exit with 1
            raise SystemExit(128 + signal.SIGINT) from None
        raise
    except OSError as error:
        if error.errno not in _WRITE_ERRORS:
            raise
        place = error.filename or config.get("folder")
        raise CompactHydraException(
            f"can't write to {place}: {error.strerror}. Free space, or choose another `folder`."
        ) from error
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        # The text before that, and the lines after it, only name OmegaConf's types.
        what = "Missing" + str(error).partition("\n")[0].rpartition("Missing")[2]
        raise CompactHydraException(f"{what}; see `{program(script)} --help`.") from None
