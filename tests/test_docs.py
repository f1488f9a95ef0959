"""The pages say what the program says, and their commands are commands."""

import re
import shlex
from pathlib import Path

import pytest
from commands import check_configuration
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


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


def commands(page: Path) -> list[list[str]]:
    """The words of each command in a page's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = (line for block in blocks for line in block.replace("\\\n", " ").splitlines())
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def composed(words: list[str]) -> tuple[str, list[str]] | None:
    """The config that a command composes, and its overrides; None for a command that composes none."""
    if words[0] == "python" and words[1] in ("train.py", "sample.py", "evaluate.py"):
        return words[1].removesuffix(".py"), words[2:]
    if words[0] == "spnn" and words[1] in ("train", "sample", "evaluate"):
        return words[1], words[2:]
    return None


@pytest.mark.nightly
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_pass_the_checks(page):
    for name, words in filter(None, map(composed, commands(page))):
        folder = next((Path(w.partition("=")[2]) for w in words if w.startswith("--config-dir=")), None)
        overrides = [re.sub(r"<[^>]*>", "x", word) for word in words if not word.startswith("-")]
        if "--help" in words or any(word.endswith("=mine") for word in words):  # a file of the reader's own
            continue
        parsed = OverridesParser.create().parse_overrides(overrides)
        plain = [one for one in parsed if not (one.is_sweep_override() and one.is_interval_sweep())]
        jobs = BasicSweeper.split_arguments(plain, None)[0] if "-m" in words else [overrides]
        check_configuration(name, *jobs[0], folder=folder and REPOSITORY / folder)
