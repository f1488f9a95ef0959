"""What can be chosen: read from the comments of ``conf/``, for ``--help`` and for ``docs/reference.md``.

::

    python -m spnn.menu > docs/reference.md

A group's sentence is the comment on its line in a ``defaults`` list, an option's the first one of its file.
"""

import re
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["CONFIGS", "Group", "groups", "menu", "own_options", "reference", "sentence"]

CONFIGS = Path(__file__).parents[2] / "conf"
SCRIPTS = ("train", "sample", "evaluate")

_OF_SWEEPS = {  # Hydra's own groups, in no defaults list
    "hydra/launcher": "where the jobs of a sweep (-m) are run; by default here, one after another",
    "hydra/sweeper": "what these jobs are; by default all that the command line lists",
}
_DEFAULTS = re.compile(r"^defaults:\n((?:  .*\n)+)", re.MULTILINE)
_DEFAULT = re.compile(r"^  - (/?)([\w/]+)(?:@([\w.]+))?: (\w+)(?: +# (.*))?$", re.MULTILINE)
_OPTION = re.compile(r"^(\w+): (.*?)(?: +# (.*))?$", re.MULTILINE)
_SENTENCE = re.compile(r".*?\.(?= [A-Z]|$)|.*")


@dataclass
class Place:
    """Where a script uses a group: the word to override it by, the option that it has by default, a sentence."""

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
        """The files of its options."""
        return sorted((CONFIGS / self.name).glob("*.yaml"))


def sentence(path: Path) -> str:
    """The first sentence of a config file's comment."""
    comment = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):
            comment.append(line.removeprefix("#").strip())
    return _SENTENCE.match(" ".join(comment))[0]


def own_options(script: str) -> list[tuple[str, str, str]]:
    """The options of a script itself: name, default, comment."""
    text = (CONFIGS / f"{script}.yaml").read_text().partition("\nhydra:")[0]
    return [match for match in _OPTION.findall(text) if match[0] != "defaults"]


def groups(script: str) -> list[Group]:
    """The groups that a script's ``defaults`` name, and those that their options name in turn."""
    found: dict[str, Group] = {}
    for _, name, package, default, comment in _defaults(CONFIGS / f"{script}.yaml"):
        word = f"{name}@{package}" if package else name
        found.setdefault(name, Group(name)).places.append(Place(word, default, comment))
    for group in list(found.values()):
        _add_inner(group, found)
    sweeps = [Group(name, [Place(name, None, text)]) for name, text in _OF_SWEEPS.items()]
    return [*found.values(), *(group for group in sweeps if group.options)]


def _defaults(path: Path) -> list[tuple[str, ...]]:
    """What a file's ``defaults`` choose: ``/`` if it is said from the root, group, package, option, comment."""
    block = _DEFAULTS.search(path.read_text())
    return _DEFAULT.findall(block[1]) if block else []


def _add_inner(group: Group, found: dict[str, Group]) -> None:
    """Add the groups that the options of one name; their defaults differ by option, so none is said."""
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
    lines += _columns([(f"    {name}={default}", comment) for name, default, comment in own_options(script)])
    lines += ["", "So is every value inside of a group, by its full name, such as trainer.devices=2.", ""]
    lines += ["  docs/reference.md".ljust(34) + "what each of them means"]
    lines += [f"  python {script}.py --cfg job".ljust(34) + "all of them, as they are chosen"]
    return "\n".join(lines)


def _columns(rows: list[tuple[str, str]]) -> Iterator[str]:
    """Names and sentences side by side, in the terminal's width."""
    left = min(36, max(len(name) for name, _ in rows)) + 2
    width = max(shutil.get_terminal_size((120, 24)).columns, left + 30)
    for name, text in rows:
        head = name.ljust(left) if len(name) < left - 1 else f"{name}  "
        yield textwrap.fill(head + text, width, subsequent_indent=" " * left, break_on_hyphens=False).rstrip()


def reference() -> str:
    """All scripts, groups and options in Markdown."""
    used = {script: groups(script) for script in SCRIPTS}
    parts = [
        "# Reference",
        "Every option of the three commands. `group=option` chooses an option of a group; `name=value` sets a value, "
        "by its full name where it is inside of a group: `stage.task.batch_size=64`. Several, `name=1,2`, are a sweep "
        "with `-m`.",
        "*Made from the comments in `conf/` by `python -m spnn.menu > docs/reference.md`.*",
        " · ".join(f"[{group}](#{_anchor(group)})" for group in _by_name(used)),
    ]
    for script, of_script in used.items():
        parts += [f"## {script}.py", sentence(CONFIGS / f"{script}.yaml")]
        rows = [(f"`{name}`", f"`{default}`", comment) for name, default, comment in own_options(script)]
        parts += [_table(("option", "default", "what"), rows)]
        rows = [
            (f"[`{place.word}`](#{_anchor(group.name)})", f"`{place.default}`" if place.default else "", place.sentence)
            for group in of_script
            for place in group.places
        ]
        parts += [_table(("group", "default", "what"), rows)]
    parts.append("## Groups")
    for name, of_scripts in _by_name(used).items():
        group = next(iter(of_scripts.values()))
        uses: dict[tuple[str, str], list[str]] = {}
        for script, one in of_scripts.items():
            for place in one.places:
                uses.setdefault((place.word, place.sentence), []).append(f"`{script}.py`")
        said = [f"- `{word}` of {', '.join(scripts)}: {_escaped(text)}" for (word, text), scripts in uses.items()]
        parts += [f"### {name}", "\n".join(said)]
        defaults = {path.stem: [] for path in group.options}
        for script, one in of_scripts.items():
            for place in one.places:
                defaults.get(place.default, []).append(f"`{script}.py`")
        rows = [
            (f"`{path.stem}`", ", ".join(dict.fromkeys(defaults[path.stem])), sentence(path)) for path in group.options
        ]
        parts += [_table(("option", "default of", "what"), rows)]
        parts += [_folded(f"{name}={path.stem}", path.read_text()) for path in group.options]
    return "\n\n".join(parts) + "\n"


def _by_name(used: dict[str, list[Group]]) -> dict[str, dict[str, Group]]:
    """Groups by name, then by script."""
    names = dict.fromkeys(group.name for of_script in used.values() for group in of_script)
    return {
        name: {script: group for script, of_script in used.items() for group in of_script if group.name == name}
        for name in names
    }


def _anchor(group: str) -> str:
    return group.replace("/", "")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_escaped(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _escaped(text: str) -> str:
    """Text in which only code may have a ``<``."""
    return "".join(part if part[:1] == "`" else part.replace("<", "&lt;") for part in re.split("(`[^`]*`)", text))


def _folded(title: str, text: str) -> str:
    return f"<details><summary><code>{title}</code></summary>\n\n```yaml\n{text.rstrip()}\n```\n\n</details>"


if __name__ == "__main__":
    print(reference(), end="")
