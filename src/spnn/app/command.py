"""The command line that draws what the editor draws."""

import json
import re
import shlex
from collections.abc import Mapping

from spnn.app.settings import Options, Subject

__all__ = ["command_of"]

_PLAIN = re.compile(r"[A-Za-z_]\w*")
_FILE = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


def command_of(run: str, subject: Subject, wanted: Mapping[str, float | str], options: Options) -> str:
    """``spnn sample run=... task=edit ...``; a photo is named as its file was.

    Arguments:
        run: The run's folder or name.
        subject: What is edited.
        wanted: What was set, by name.
        options: How it is drawn.
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
    """Names and values: a dictionary, or, where a name can't be a key of Hydra's, a list."""
    if all(_PLAIN.fullmatch(name) for name in wanted):
        return f"{{{', '.join(f'{name}: {_value(value)}' for name, value in wanted.items())}}}"
    pairs = (f"{name}={value if isinstance(value, float) else json.dumps(value)}" for name, value in wanted.items())
    return f"[{', '.join(map(_quoted, pairs))}]"


def _value(value: float | str) -> str:
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else _quoted(value)


def _quoted(value: float | str) -> str:
    """A number as it is; a text in Hydra's quotes, in which a quote is escaped and a backslash before one, too."""
    if not isinstance(value, str):
        return str(value)
    return '"' + re.sub(r'(\\*)"', r'\1\1\\"', value) + '"'
