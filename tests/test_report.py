"""The report: one file that needs no other, and can be read in light and dark and on a phone."""

import base64
import html
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import configuration
from PIL import Image

from spnn.evaluation.findings import Bars, Findings, Lines, Matrix, Pictures, Table, Vectors
from spnn.evaluation.report import save_report, training_curves
from spnn.evaluation.results import save_findings
from spnn.runs import Run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)"
)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(10, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def report(tmp_path_factory, images) -> Path:
    """The report of a run with one study of every kind of part."""
    folder = tmp_path_factory.mktemp("report")
    run = Run.create(folder / "run", configuration("train", "experiment=digits", "folder=x", "name='a<b>'"))
    (run.folder / "task").mkdir()
    log = (
        "epoch,step,train/loss,val/loss,val/accuracy,test/loss\n0,0,5,,,\n0,9,,1,0.5,\n0,10,0.5,,,\n1,19,,0.4,0.9,0.3\n"
    )
    (run.folder / "task/metrics.csv").write_text(log)
    run.save_metrics("task", {"accuracy": 0.9, "accuracy/digit_0": 0.95})
    probability = torch.rand(10, 40, generator=torch.Generator().manual_seed(0))
    names = [f"attribute_{i}" for i in range(40)]
    entries = [{"guidance": f"method_{i}", "agreement": 0.9, "range": [0.85, 0.95], "note": "x"} for i in range(5)]
    columns = {"guidance": "guidance", "agreement": "agree %", "range": "95 % CI, %", "note": "a <note>"}
    parts = [
        Table("table", "compared", columns | {f"more_{i}": f"more of it {i}" for i in range(9)}, entries),
        Bars("bars", "agreement", names, {f"method {i}": probability[i].tolist() for i in range(4)}),
        Lines(
            "lines", "violation", "level of noise t", {"a": ([999, 500, 0], [3, 2, 0.1]), "b": ([1], [1])}, log_y=True
        ),
        Matrix("matrix", "ablation", ["random", "trained"], ["naive", "nlbp"], [[0.8, 0.9], [None, 0.95]]),
        Pictures("grid", "pictures", {"held-out\nimage": images, "nlbp": -images}, [f"0000{i}" for i in range(10)]),
        Vectors("vectors", "vectors", {"a": (images[:2], probability[:2]), "b": (images[:2], probability[2:4])}, names),
    ]
    findings = Findings("Reconstruction of 10 images", "these <with> those", entries, ["It is so."], parts)
    save_findings(findings, run.folder / "evaluation/reconstruction")
    save_findings(findings, run.folder / "evaluation/reconstruction.2026-01-01_00-00-00")  # an earlier one
    save_findings(Findings("Editing", "x", [], [], []), run.folder / "evaluation/edit")
    save_report(run.folder, run.folder / "evaluation", folder / "out/report.html")
    return folder / "out/report.html"


class References(HTMLParser):
    """All that a page refers to, and whether its tags are closed in order."""

    def __init__(self, page: str):
        super().__init__()
        self.found, self.open, self.ids = [], [], set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found += [
            value for name, value in attributes if name in ("src", "href", "srcset", "data", "action", "poster")
        ]
        self.ids |= {value for name, value in attributes if name == "id"}
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_refers_to_nothing_outside(report):
    page = report.read_text()
    parsed = References(page)
    assert parsed.open == []
    embedded = [value for value in parsed.found if value.startswith("data:image/png;base64,")]
    links = [value for value in parsed.found if value not in embedded]
    assert len(embedded) == 5 + 1 and links and all(link[0] == "#" and link[1:] in parsed.ids for link in links)
    assert "url(" not in page and "@import" not in page and "<script" not in page and "http" not in page


def test_the_report_shows_studies_settings_and_training_and_escapes_them(report):
    page = report.read_text()
    titles = re.findall("<h2>(.*?)</h2>", page)
    assert titles == ["Settings", "Reconstruction of 10 images", "Editing", "Training"]
    assert "a&lt;b&gt;: evaluation" in page and "these &lt;with&gt; those" in page and "a &lt;note&gt;" in page
    for shown in ("It is so.", "85.0–95.0", "method 3", "scale_bound 1.0", "seed 0", "accuracy", "validation"):
        assert shown in page
    assert "accuracy/digit_0" not in page
    assert not list(report.parent.glob("*.unfinished"))


def test_the_figures_are_embedded_as_they_were_drawn(report):
    study = report.parents[1] / "run/evaluation/reconstruction"
    embedded = [base64.b64decode(png) for png in re.findall(r'src="data:image/png;base64,([^"]+)"', report.read_text())]
    names = ("bars", "lines", "matrix", "grid", "vectors")
    assert embedded[:5] == [(study / f"{name}.png").read_bytes() for name in names]
    for curve in embedded[5:]:
        assert Image.open(io.BytesIO(curve)).width > 100


def test_training_curves_are_those_of_the_log(report):
    loss, accuracy = training_curves(report.parents[1] / "run/task/metrics.csv")
    assert loss.series == {"training": ([0, 10], [5, 0.5]), "validation": ([9, 19], [1, 0.4])} and loss.log_y
    assert accuracy.series == {"validation": ([9, 19], [0.5, 0.9])} and not accuracy.log_y


def chromium(page: Path, work: Path, *options: str) -> str:
    """What headless Chromium prints of a page; it can reach no other machine."""
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic")
    alone = ("--host-resolver-rules=MAP * ~NOTFOUND", "--no-first-run", f"--user-data-dir={work / 'profile'}")
    base = (CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *quiet, *alone)
    done = subprocess.run([*base, *options, page.as_uri()], capture_output=True, text=True, timeout=120)
    shutil.rmtree(work / "profile", ignore_errors=True)
    return done.stdout


def screenshot(page: Path, work: Path, *options: str, size: str = "1100,1500") -> np.ndarray:
    chromium(page, work, f"--screenshot={work / 'page.png'}", f"--window-size={size}", *options)
    return np.asarray(Image.open(work / "page.png").convert("RGB")).astype(int)


@pytest.mark.nightly
@needs_chromium
@pytest.mark.parametrize("scheme, ground", [("light", 255), ("dark", 20)])
def test_the_page_is_drawn_in_light_and_dark(scheme, ground, report, tmp_path):
    shot = screenshot(report, tmp_path, f"--blink-settings=preferredColorScheme={int(scheme == 'light')}")
    assert shot.shape == (1500, 1100, 3)
    assert abs(shot[2, 2].mean() - ground) < 8  # the corner
    difference = np.abs(shot - shot[2, 2]).max(2)
    assert 0.02 < (difference > 100).mean() < 0.5  # there is text, and it stands out from the ground
    assert len(np.unique(shot.reshape(-1, 3) // 16, axis=0)) > 20  # and there are colours


@pytest.mark.nightly
@needs_chromium
@pytest.mark.parametrize("width", [390, 800])
def test_nothing_is_wider_than_the_screen(width, report, tmp_path):
    # Headless windows are at least 500 pixels wide, a frame in one may be as narrow as a phone.
    page = html.escape(report.read_text())
    frame = f'<iframe width="{width}" height="800" style="border: 0" srcdoc="{page}"></iframe>'
    measure = (
        "const page = document.querySelector('iframe').contentDocument.documentElement;"
        "document.body.dataset.widths = page.scrollWidth + ' ' + page.clientWidth;"
    )
    (tmp_path / "frame.html").write_text(f"<body><script>onload = () => {{ {measure} }}</script>{frame}</body>")
    printed = chromium(tmp_path / "frame.html", tmp_path, "--dump-dom", "--window-size=1000,900")
    assert re.search(r'data-widths="([^"]*)"', printed)[1] == f"{width} {width}"
