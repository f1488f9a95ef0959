"""The choices that ``--help`` shows, read from the comments in ``conf/``.

A group's sentence is the comment on its line in a ``defaults`` list; an option's is the first sentence of its file.
"""

import re
import shlex
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spnn.search_path import CONFIGS, config_folders, find_all

__all__ = ["Group", "groups", "menu", "own_options", "program", "sentence"]

_OF_SWEEPS = {  # Hydra's own groups, in no defaults list
    "hydra/launcher": "where the jobs of a sweep (-m) are run; by default here, one after another",
    "hydra/sweeper": "what these jobs are; by default all that the command line lists",
}
_DEFAULTS = re.compile(r"^defaults:\n((?:  .*\n)+)", re.MULTILINE)
_DEFAULT = re.compile(r"^  - (/?)([\w/]+)(?:@([\w.]+))?: (\w+)(?: +# (.*))?$", re.MULTILINE)
_OPTION = re.compile(r"^(\w+): (.*?)(?: +# (.*))?$", re.MULTILINE)
_SENTENCE = re.compile(r".*?\.(?= [A-Z]|$)")


@dataclass
class Place:
    """Where a script uses a group: the word that overrides it, its default option, and a sentence."""

    word: str
    default: str | None
    sentence: str


@dataclass
class Group:
    """A folder of ``conf/`` and the places where a script uses it."""

    name: str
    places: list[Place] = field(default_factory=list)

    @property
    def options(self) -> list[Path]:
        """The files of the group's options."""
        return find_all(config_folders(), f"{self.name}/*.yaml")


def program(script: str, *words: str) -> str:
    """How to call a command, with words of its command line: by its script in a checkout, otherwise by the installed
    ``spnn``."""
    here = CONFIGS.parent == Path.cwd() and Path(f"{script}.py").exists()
    called = f"python {script}.py" if here else f"spnn {script}"
    return f"{called} {shlex.join(words)}".rstrip()


def sentence(path: Path) -> str:
    """The first sentence of a config file's comment."""
    comment = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):
            comment.append(line.removeprefix("#").strip())
    text = " ".join(comment)
    return found[0] if (found := _SENTENCE.match(text)) else text


def own_options(script: str) -> list[tuple[str, str, str]]:
    """A script's own options, outside of groups: name, default, comment."""
    text = _main(script).read_text(encoding="utf-8").partition("\nhydra:")[0]
    return [match for match in _OPTION.findall(text) if match[0] != "defaults"]


def groups(script: str) -> list[Group]:
    """The groups in a script's ``defaults``, and the groups in the ``defaults`` of their options, and so on."""
    found: dict[str, Group] = {}
    for _, name, package, default, comment in _defaults(_main(script)):
        word = f"{name}@{package}" if package else name
        found.setdefault(name, Group(name)).places.append(Place(word, default, comment))
    for group in list(found.values()):
        _add_inner(group, found)
    sweeps = [Group(name, [Place(name, None, text)]) for name, text in _OF_SWEEPS.items()]
    return [*found.values(), *(group for group in sweeps if group.options)]


def _main(script: str) -> Path:
    (path,) = find_all(config_folders(), f"{script}.yaml")
    return path


def _defaults(path: Path) -> list[tuple[str, ...]]:
    """The entries of a file's ``defaults``: ``/`` if the group's path is absolute, group, package, option, comment."""
    block = _DEFAULTS.search(path.read_text(encoding="utf-8"))
    return _DEFAULT.findall(block[1]) if block else []


def _add_inner(group: Group, found: dict[str, Group]) -> None:
    """Add the groups in the ``defaults`` of a group's options; their default differs by option, so none is shown."""
    _, _, package = group.places[0].word.partition("@")
    for path in group.options:
        for root, name, inner_package, _, comment in _defaults(path):
            full = name if root else f"{group.name}/{name}"
            if full in found or not comment:
                continue
            place = re.sub(r"\w+$", "<name>", inner_package) if inner_package else package and f"{package}.{name}"
            found[full] = Group(full, [Place(f"{full}@{place}" if place else full, None, comment)])
            _add_inner(found[full], found)


def menu(script: str) -> str:
    """The groups and options of a script as ``--help`` shows them."""
    lines = ["Choose an option of a group by group=option; * is the default."]
    for group in groups(script):
        lines += ["", *(f"{place.word}: {place.sentence}" for place in group.places)]
        defaults = {place.default for place in group.places}
        rows = [(("  * " if path.stem in defaults else "    ") + path.stem, sentence(path)) for path in group.options]
        lines += _columns(rows)
    lines += ["", "Options of its own, each set by name=value:"]
    own = own_options(script)
    lines += _columns([(f"    {name}" + f"={default}" * (default[:2] != "${"), text) for name, default, text in own])
    lines += ["", "Set a value inside a group by its full name, e.g. trainer.devices=2.", ""]
    folder = "conf" if CONFIGS.parent == Path.cwd() else CONFIGS
    lines += [f"  {folder}/<group>/<option>.yaml".ljust(34) + "  its values, each with a comment"]
    lines += [f"  {program(script)} --cfg job".ljust(34) + "  all values, as chosen"]
    return "\n".join(lines)


def _columns(rows: list[tuple[str, str]]) -> Iterator[str]:
    """Names and sentences side by side, in the terminal's width."""
    left = min(36, max(len(name) for name, _ in rows)) + 2
    width = max(shutil.get_terminal_size((120, 24)).columns, left + 30)
    for name, text in rows:
        head = name.ljust(left) if len(name) < left - 1 else f"{name}  "
        yield textwrap.fill(head + text, width, subsequent_indent=" " * left, break_on_hyphens=False).rstrip()
