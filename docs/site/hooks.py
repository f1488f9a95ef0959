"""What the site has beyond the pages in docs/: the README as its first page, every option, the Python reference."""

import importlib
import re
from html import unescape
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).parents[2]
COMMANDS = ("train", "sample", "evaluate")
MODULES = (
    "spnn", "spnn.pipeline", "spnn.networks", "spnn.operators", "spnn.diffusion", "spnn.readout", "spnn.data",
    "spnn.training", "spnn.sampling", "spnn.evaluation", "spnn.metrics", "spnn.tracking", "spnn.runs"
)  # fmt: skip


def on_files(files: Files, config) -> Files:
    """Add pages that are written from the repository."""
    pages = {"index.md": readme(), "options.md": options(), "python.md": python()}
    pages["changelog.md"] = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_) -> str:
    """Name files of the repository that are no pages, instead of linking to them."""
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)#]+)[^)]*\)", name_of_file, markdown)


def on_page_content(html: str, **_) -> str:
    """Set formulas in MathML, which browsers show by themselves; show the roles of docstrings as code."""
    html = re.sub(r":\w+:<code>~?(?:[\w.]+\.)?(\w+)</code>", r"<code>\1</code>", html)
    return re.sub(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', formula, html, flags=re.DOTALL)


def formula(found: re.Match) -> str:
    latex = unescape(found[2]).replace(r"\arg\min", r"\operatorname{arg\,min}")
    return convert(latex, display="block" if found[1] == "div" else "inline")


def name_of_file(found: re.Match) -> str:
    text, path = found.groups()
    return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"


def readme() -> str:
    """The README, whose links are of the repository's root."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    text = (
        re.sub(r"\[docs/(\w+)\.md\]", r"[\1]", text)
        .replace("](docs/", "](")
        .replace("](CHANGELOG.md)", "](changelog.md)")
    )
    return re.sub(r"(?<!!)\[([^\]]+)\]\(((?!https?:|#)[^)]*?(?<!\.md)|(?:src/|[A-Z])[^)]*)\)", name_of_file, text)


def options() -> str:
    """The commands' options and the choices of each group, as conf/ has them."""
    conf = REPOSITORY / "conf"
    lines = ["# Options", "", "Each can be set on the command line: `stage.task.batch_size=64`, `guidance=nlbp`.", ""]
    for command in COMMANDS:
        text = (conf / f"{command}.yaml").read_text(encoding="utf-8")
        lines += [f"## {command}.py", "", "```yaml", text.partition("\nhydra:")[0].strip(), "```", ""]
    for group in sorted(path for path in conf.iterdir() if path.is_dir()):
        lines += [f"## {group.name}", ""]
        for file in sorted(group.rglob("*.yaml")):
            text = file.read_text(encoding="utf-8").strip()
            lines += [f"### {group.name}={file.relative_to(group).with_suffix('')}", "", "```yaml", text, "```", ""]
    return "\n".join(lines)


def python() -> str:
    """What each package exports, from the docstrings."""
    lines, known = ["# Python", ""], set()
    for name in MODULES:
        module = importlib.import_module(name)
        said = (module.__doc__ or "").strip().split("\n\n")[0]
        lines += [f"## {name}", "", " ".join(said.split()), ""]
        exports = [getattr(module, export) for export in module.__all__]
        paths = [f"{x.__module__}.{x.__qualname__}" for x in exports if hasattr(x, "__qualname__")]
        lines += [f"::: {path}\n" for path in paths if path not in known]
        known |= set(paths)
    return "\n".join(lines)
