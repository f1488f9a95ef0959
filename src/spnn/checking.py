"""Find mistakes that Hydra doesn't, before anything is built or written: misspelt keys, wrong types, unknown targets.

The reference is the config that the chosen groups give without ``experiment``, ``debug`` and values. If a config names
a ``_target_``, the target's signature tells which keys are allowed, and its annotations tell their types.
"""

import importlib
import json
import pkgutil
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from hydra import compose
from hydra.conf import HydraConf
from hydra.errors import (
    CompactHydraException,
    ConfigCompositionException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf

from spnn.configs import WHERE, plain
from spnn.errors import InputError, choice, nearest, nearest_path
from spnn.menu import groups, own_options, program
from spnn.search_path import searching
from spnn.signatures import KINDS, MAPPING, NUMBER, WHOLE, kinds, parameters

__all__ = ["check", "hint", "names_of"]

_SCRIPTS = ("train", "sample", "evaluate")
_FILES = ("experiment", "debug")  # groups whose options set values of other groups
# Mappings with any names, whose values are null or made by a `_target_`:
_OBJECTS = ("callbacks", "logger", "methods", "problems", "stage.*.callbacks")
_TRAINER = "stage.*.trainer"  # further arguments of Lightning's trainer
_OF_HYDRA = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}
_ALSO = {
    "compile": {"text"},
    "name": {"text"},
    "study.others": {"text", NUMBER},
    "count": {WHOLE},
    "stage.*.epochs": {WHOLE},
}  # allowed types that the default doesn't show
_LEFT_OUT = {"data.flip", "data.augment", "data.num_workers"}  # the config of a user's own data may lack these
_UNKNOWN = object()  # stands for a missing default


def check(config: DictConfig, hydra: HydraConf) -> None:
    """Compare a composed config with what it may contain.

    Arguments:
        config: The config as a command gets it.
        hydra: Hydra's own part of it: the overrides, and the options that were chosen.

    Raises:
        InputError: If it has keys that nothing reads, values whose type differs from the default's or the signature's,
            or targets that can't be imported; the message names all of them.
    """
    found, reference = plain(config, resolve=False), _reference(config, hydra)
    known = found if reference is config else plain(reference, resolve=False)
    choices = hydra.runtime.choices
    files = [f"{group}={choices[group]}" for group in _FILES if choices.get(group)]
    values = [word for word in hydra.overrides.task if _key(word) not in choices]
    if faults := list(_Comparison(known, values, files).faults("", found, known)):
        raise InputError("\n".join(faults))


def hint(error: BaseException | None, name: str, folders: Sequence[Path], words: Sequence[str]) -> str:
    """Explain what is wrong with a command line that Hydra could not compose, and what may have been meant, in our own
    words if they are clearer than Hydra's. Empty for any other error.

    Arguments:
        error: The error that Hydra raised.
        name: The config's name.
        folders: The folders to search for configs, in this order.
        words: The words of the command line.
    """
    if isinstance(error, MissingConfigException) and error.options:
        option = str(error.missing_cfg_file).rpartition("/")[2]
        return f"No option {option!r}{choice(option, error.options)}."
    if isinstance(error, OverrideParseException):
        if not str(error.override).isascii():
            return (
                f"{error.override!r} can't be read: letters other than a to z need quotes inside of the word, as in "
                "\"images='Fötos'\", and names with such letters a list, as in 'edit.set=[\"Größe=high\"]'."
            )
        reason = next(line for line in error.message.splitlines() if not line.startswith("Error parsing"))
        return (
            f"{error.override!r} can't be read ({reason}): options are written name=value. Put quotes around values "
            "with spaces, commas or other signs: 'edit.set={Smiling: yes}', \"images='a=b.png'\"."
        )
    if isinstance(error, RuntimeError) and "Unknown plugin class" in str(error):
        return "This launcher or sweeper is a package of its own: pip install -e '.[launchers,optuna]'."
    if not isinstance(error, CompactHydraException):
        return ""
    hydras = "\n".join(map(str, filter(None, (error, error.__cause__))))
    if not isinstance(error, ConfigCompositionException):
        return hydras
    words = [word for word in words if "=" in word and not word.startswith(("-", "+"))]
    with searching(folders):
        groups = compose(name, return_hydra_config=True).hydra.runtime.choices
        chosen = [word.partition(",")[0] for word in words if _key(word) in groups]  # for a sweep, its first option
        try:
            config = compose(name, chosen, return_hydra_config=True)
        except ConfigCompositionException:
            return hydras
    names = {*names_of(OmegaConf.to_container(config)), *config.hydra.runtime.choices}
    unknown = [key for key in map(_key, words) if key not in names]
    if not unknown:  # the mistake is inside a value, as in stage.task={batch_sise: 3}
        unknown = [getattr(error.__cause__, "full_key", None) or ""]
    values = {_key(word): word.partition("=")[2] for word in words}
    said = (_belongs(name, key) or _unknown(key, names, config, values.get(key, "...")) for key in unknown if key)
    return "\n".join(said) or hydras


def _belongs(script: str, key: str) -> str:
    """A sentence on where an option belongs that the script, as it was called, doesn't have: to an option of a group,
    such as task=edit, or to another script; empty if no place has it."""
    for group in groups(script):
        for path in group.options if group.name not in _FILES else ():
            text = path.read_text(encoding="utf-8")
            if text.startswith("# @package _global_") and key in names_of(yaml.safe_load(text)):
                return f"No option {key!r} here: it belongs to {group.name}={path.stem}."
    for other in _SCRIPTS:
        names = {name for name, _, _ in own_options(other)} | {group.name for group in groups(other)}
        if other != script and key in names:
            return f"No option {key!r} here: it belongs to `{program(other)}`."
    return ""


def _unknown(key: str, names: set[str], config: DictConfig, value: str) -> str:
    """A sentence that there is no such option, and which there are."""
    group, _, part = key.rpartition(".")
    if key in names:  # it exists with a swept choice, but Hydra looks at the default first
        return (
            f"The default {group.partition('.')[0]!r} has no option {key!r}; in a sweep over it write ++{key}={value}."
        )
    if group in names and OmegaConf.select(config, group) is None:  # the option takes a dictionary, but is null so far
        return f"No option {key!r}: write '{group}={{{part}: {value}}}', in quotes."
    if text := nearest_path(key, names):
        return f"No option {key!r}{text}."
    beside = sorted({name[len(group) + 1 :].partition(".")[0] for name in names if name.startswith(f"{group}.")})
    listed = (
        f" {group} has {', '.join(name for name in beside if not name.startswith('_'))}." if group and beside else ""
    )
    return f"No option {key!r} with what was chosen.{listed}"


def _key(word: str) -> str:
    """The option that an override names."""
    return word.lstrip("+~").partition("=")[0]


def _reference(config: DictConfig, hydra: HydraConf) -> DictConfig:
    """The config of the chosen options alone; ``config`` itself if the command line sets nothing else."""
    name, choices, words = hydra.job.config_name, hydra.runtime.choices, hydra.overrides.task
    wanted = {key: value for key, value in choices.items() if value and key.split("/")[0] not in ("hydra", *_FILES)}
    groups = {*wanted, "logger"}  # several loggers may be chosen; then Hydra doesn't list a choice for it
    said = [word for word in words if _key(word) in groups and not word.startswith("~")]
    if len(said) == len(words) and not any(choices.get(key) for key in _FILES):
        return config
    try:
        return compose(name, [*said, *(f"{key}={wanted[key]}" for key in wanted.keys() - set(map(_key, said)))])
    except ConfigCompositionException:  # a file adds groups to the defaults list, perhaps with their own defaults
        while True:
            there = compose(name, said, return_hydra_config=True).hydra.runtime.choices
            if other := [f"{key}={value}" for key, value in wanted.items() if key in there and there[key] != value]:
                said += other
            elif new := [f"+{key}={value}" for key, value in wanted.items() if key not in there]:
                said.append(new[0])
            else:
                return compose(name, said)


def names_of(config: Any, prefix: str = "") -> Iterator[str]:
    """The dotted names of everything in a config."""
    for name, value in config.items() if isinstance(config, dict) else ():
        yield f"{prefix}{name}"
        yield from names_of(value, f"{prefix}{name}.")


class _Comparison:
    """Finds the mistakes in a config.

    Arguments:
        reference: The config to compare with.
        words: The words of the command line that set values.
        files: The chosen experiment and debug run, which set values, too.
    """

    def __init__(self, reference: dict, words: Sequence[str], files: Sequence[str]):
        self.names, self.words, self.files = list(names_of(reference)), words, files

    def faults(self, key: str, found: Any, known: Any) -> Iterator[str]:
        """Sentences on the mistakes inside a value whose default is ``known``."""
        if isinstance(found, list):
            for place, item in enumerate(found):
                yield from self.faults(f"{key}[{place}]", item, _UNKNOWN)
        elif isinstance(found, dict):
            if fnmatchcase(key, _TRAINER):
                found = {"_target_": "lightning.Trainer", **found}
            is_call = isinstance(found.get("_target_"), str)
            yield from (self._faults_of_call if is_call else self._faults_of_mapping)(key, found, known)

    def _faults_of_mapping(self, key: str, found: dict, known: Any) -> Iterator[str]:
        names = known if isinstance(known, dict) and known else found  # an empty mapping takes any names
        of_objects = any(fnmatchcase(key, pattern) for pattern in _OBJECTS)
        for name, value in found.items():
            full = f"{key}.{name}" if key else str(name)
            is_object = of_objects and (value is None or (isinstance(value, dict) and "_target_" in value))
            if name in names or is_object or full in _LEFT_OUT or self._is_added(full):
                default = known.get(name, _UNKNOWN) if isinstance(known, dict) else _UNKNOWN
                also = set().union(*(more for pattern, more in _ALSO.items() if fnmatchcase(full, pattern)))
                yield from _faults_of_type(full, value, default, _kind_of(default) | also)
                yield from self.faults(full, value, default)
            elif full in _FILES:
                yield f"{full} sets options of other groups, so its file must begin with `# @package _global_`."
            else:
                yield f"No option {full!r}{nearest_path(full, self.names)}.{self._origin(full)}"

    def _faults_of_call(self, key: str, found: dict, known: Any) -> Iterator[str]:
        target, known = found["_target_"], known if isinstance(known, dict) else {}
        try:
            taken, takes_more = parameters(pkgutil.resolve_name(target))
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            yield f"{key}._target_={target} can't be imported and called: {_reason(target) or error}. {WHERE}"
            return
        for name, value in found.items():
            full = f"{key}.{name}"
            default = known.get(name, _UNKNOWN) if known.get("_target_", target) == target else _UNKNOWN
            if name in taken or takes_more or name in _OF_HYDRA:
                allowed = kinds(taken[name].annotation) if name in taken else set()
                if isinstance(value, dict) and "_target_" in value:
                    allowed = set()  # the type of the object it makes is not known
                elif allowed <= {MAPPING}:
                    allowed = {NUMBER if kind == WHOLE else kind for kind in _kind_of(default)}
                yield from _faults_of_type(full, value, default, allowed)
                yield from self.faults(full, value, default)
            else:
                yield f"No option {full!r}: {target} takes no `{name}`{nearest(name, taken)}.{self._origin(full)}"

    def _is_added(self, full: str) -> bool:
        return _overlaps(full, [word for word in self.words if word.startswith("+")])

    def _origin(self, full: str) -> str:
        """Where a key comes from, if the command line doesn't name it, and how to leave it out."""
        if not self.files or _overlaps(full, self.words):
            return ""
        return f" It is set by {' or '.join(self.files)} for another choice: leave it out by '~{full}'."


def _overlaps(full: str, words: Sequence[str]) -> bool:
    """Whether words of the command line name a key, or a key that contains it or lies in it."""
    return any(f"{key}.".startswith(f"{full}.") or full.startswith(f"{key}.") for key in map(_key, words))


def _reason(target: str) -> BaseException | None:
    """Why the module of a target can't be imported; `resolve_name` reports a failing module as a missing one."""
    try:
        importlib.import_module(target.rpartition(".")[0])
    except Exception as error:
        missing = getattr(error, "name", None)
        return None if missing and target.startswith(missing) and isinstance(error, ModuleNotFoundError) else error
    return None


def _kind_of(default: Any) -> set[str]:
    """The kind of a default, in a set; empty if the default doesn't show it."""
    kind = None if _is_open(default) else KINDS.get(type(default))
    return {kind} if kind else set()


def _is_open(value: Any) -> bool:
    """Whether a value is still missing, or is an interpolation."""
    return isinstance(value, str) and (value == "???" or "${" in value)


def _faults_of_type(full: str, value: Any, default: Any, allowed: set[str]) -> Iterator[str]:
    kind = KINDS.get(type(value))
    if not allowed or kind is None or _is_open(value) or kind in allowed or (kind == WHOLE and NUMBER in allowed):
        return
    expected = " or ".join(sorted(allowed - {MAPPING})) or MAPPING
    shown = "" if default is _UNKNOWN else f" (the default is {_shown(default)})"
    yield f"{full} must be {expected}{shown}, got {_shown(value)}."


def _shown(value: Any) -> str:
    """A value as JSON, cut if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:56]} ..."
