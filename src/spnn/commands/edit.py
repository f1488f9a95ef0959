"""`spnn edit`: the editor in the browser."""

import argparse
import importlib.util
import sys
from collections.abc import Sequence

from spnn.errors import InputError
from spnn.runs.embedded import DEFAULT

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> int:
    """Serve the page until it is interrupted, or export it; return the exit status."""
    parser = _parser()
    options = parser.parse_args(words)
    run = DEFAULT
    for word in options.choices:
        name, equals, value = word.partition("=")
        if name != "run" or not equals or not value:
            parser.error(f"no option {word!r}: the editor takes run=<folder or name> alone.")
        run = value
    try:
        if options.export_space is not None:
            from spnn.app.space import export_space

            print(f"{export_space(run, options.export_space)}: push it to a Space of Hugging Face.")
            return 0
        if importlib.util.find_spec("gradio") is None:
            raise InputError("the editor needs Gradio: pip install 'spnn[app]'.")
        from spnn.app.page import serve  # imports Gradio

        serve(run, options.host, options.port)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("spnn edit", description="Edit pictures in the browser.")
    parser.add_argument("choices", nargs="*", metavar="run=RUN", help=f"the run's folder or name ({DEFAULT})")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s: this machine alone)")
    parser.add_argument("--port", type=int, default=7860, help="%(default)s")
    parser.add_argument("--export-space", metavar="FOLDER", help="write a Space of Hugging Face instead")
    return parser
