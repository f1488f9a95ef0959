"""The pages say what the program says, and their commands are commands."""

import importlib.util
import re

import pytest
from commands import PAGES, REPOSITORY, commands_of

from spnn.commands import dashboard, edit
from spnn.runs import __main__ as runs

PARSERS = {"edit": edit._parser, "dashboard": dashboard._parser, "runs": runs._parser}


def test_troubles_quotes_messages_that_the_program_has():
    page = (REPOSITORY / "docs/troubles.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    texts = (path.read_text(encoding="utf-8") for path in (REPOSITORY / "src/spnn").rglob("*.py"))
    source = re.sub(r'"\s*f?"', "", "".join(texts))  # strings that go over several lines
    assert len(quoted) > 10
    assert [message for message in quoted if message not in source] == []


def test_every_page_is_in_the_site():
    site = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in (REPOSITORY / "docs").glob("*.md") if f": {page.name}\n" not in site] == []


NOT_RUN = {
    "pip": "it installs",
    "mkdir": "it opens an editor",
    "mlflow": "a web page, of a package that isn't installed here",
    "TRACKIO_DIR=outputs/trackio": "a web page",
    "wandb": "it needs a server",
}
"""Other programs' commands on the pages, and why no test runs them."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_the_pages_are_commands(page):
    """Whether the options of `train`, `sample` and `evaluate` are right, tests/test_checking.py tells of each."""
    targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in commands_of(page):
        match words:
            case ["python", "-m", module, *_]:
                assert importlib.util.find_spec(module), words
            case ["python", "main.py", *_]:
                pass  # another project's, as in tests/test_resuming_sweeps.py
            case ["python", script, *_]:
                assert (REPOSITORY / script).exists(), words
            case ["spnn", "train" | "sample" | "evaluate", *_]:
                pass
            case ["spnn", name, *rest]:
                PARSERS[name]().parse_args(rest)  # which ends the process if it can't
            case ["make", target, *_]:
                assert target in targets, words
            case [program, *_]:
                assert program in NOT_RUN, words
