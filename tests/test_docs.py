"""The pages say what the program says."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


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
