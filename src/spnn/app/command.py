"""The command line that draws the same picture as the editor."""

import json
import re
import shlex
from collections.abc import Mapping

from spnn.app.settings import Options, Subject

__all__ = ["command_of"]

_PLAIN = re.compile(r"[A-Za-z_]\w*")
_FILE = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


def command_of(run: str, subject: Subject, wanted: Mapping[str, float | str], options: Options) -> str:
    """Return ``spnn sample run=... task=edit ...``; a photo is given by the name that its file had.

    Arguments:
        run: The run's folder or name.
        subject: The picture to edit.
        wanted: The settings, by name.
        options: How to draw.
    """
    usual, task = Options(), "generate" if subject.kind == "noise" else "edit"
    words = [f"run={run}", f"task={task}", f"{task}.set={_set(wanted)}"]
    if subject.kind == "photo":
        words.append(f"images={subject.name if _FILE.fullmatch(subject.name) else _quoted(subject.name)}")
    elif subject.kind == "held-out":
        words.append(f"first={subject.number}")
    words.append("count=1")
    chosen: dict[str, int | None] = {
        "seed": options.seed,
        "sampler.steps": options.steps,
        "n_per_target": options.variants,
    }
    plain: dict[str, int | None] = {"seed": usual.seed, "sampler.steps": usual.steps, "n_per_target": usual.variants}
    if task == "edit":
        chosen["sampler.start"], plain["sampler.start"] = options.start, usual.start
    words += [f"{name}={'null' if value is None else value}" for name, value in chosen.items() if value != plain[name]]
    others = options.others_of(task)
    words += [f"{task}.others={others}"] if others is not None else []
    words += [f"guidance={options.guidance}"] if options.guidance != usual.guidance else []
    return shlex.join(["spnn", "sample", *words])


def _set(wanted: Mapping[str, float | str]) -> str:
    """Write names and values as a dictionary, or as a list if Hydra wouldn't take a name as a key."""
    if all(_PLAIN.fullmatch(name) for name in wanted):
        return f"{{{', '.join(f'{name}: {_value(value)}' for name, value in wanted.items())}}}"
    pairs = (f"{name}={value if isinstance(value, float) else json.dumps(value)}" for name, value in wanted.items())
    return f"[{', '.join(map(_quoted, pairs))}]"


def _value(value: float | str) -> str:
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else _quoted(value)


def _quoted(value: float | str) -> str:
    """Write a number as such, and a text in Hydra's quotes, escaping quotes and the backslashes before them."""
    if not isinstance(value, str):
        return str(value)
    return '"' + re.sub(r'(\\*)"', r'\1\1\\"', value) + '"'
