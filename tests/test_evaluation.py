"""Evaluation: what every study finds on a run of digits, what it leaves, and what it refuses."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from commands import REPOSITORY, command, configuration
from PIL import Image

from spnn.errors import InputError
from spnn.evaluation import evaluate
from spnn.evaluation.findings import Bars, Findings, Lines, Matrix, Pictures, Table, Vectors
from spnn.evaluation.judge import attribute_resnet18
from spnn.evaluation.results import save_findings
from spnn.evaluation.subject import Subject
from spnn.evaluation.tables import cells, save_table
from spnn.runs import Run
from spnn.sampling.images import held_out
from spnn.sampling.models import load_models


def evaluated(folder: Path, run: Run, *overrides: str) -> tuple[list[dict], Path]:
    """Entries and folder of a study of a run; nothing is written into the run's own folder."""
    where = (f"run={run.folder}", f"folder={folder}", f"report={folder}/report.html", "trainer.precision=32-true")
    config = configuration("evaluate", *where, *overrides)
    return evaluate(config), folder / config.study._target_.rpartition(".")[2].lower()


def test_a_table_is_written_in_every_format(tmp_path):
    rows = [
        {"guidance": "a_b", "share": 0.5, "range": [0.25, 0.75], "hidden": 1e-5},
        {"guidance": "none", "share": None},
    ]
    table = Table("t", "50 % & more", {"guidance": "guidance", "share": "share %", "range": "range, %"}, rows)
    assert cells(table) == [["a_b", "50.0", "25.0–75.0"], ["none", "", ""]]
    save_table(table, tmp_path)
    with (tmp_path / "t.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["guidance", "share", "range_low", "range_high", "hidden"],
            ["a_b", "0.5", "0.25", "0.75", "1e-05"],
            ["none", "", "", "", ""],
        ]
    assert "| a_b | 50.0 | 25.0–75.0 |" in (tmp_path / "t.md").read_text()
    latex = (tmp_path / "t.tex").read_text()
    assert r"a\_b & 50.0 & 25.0--75.0 \\" in latex and r"50 \% \& more" in latex


def test_findings_become_files_with_the_pixels_as_they_are(tmp_path):
    image = torch.rand(3, 1, 8, 8) * 2 - 1
    probability = torch.rand(3, 10)
    parts = [
        Bars("bars", "share", ["x", "y"], {"a": [0.1, math.nan]}),
        Lines("lines", "gap", "t", {"a": ([1, 10], [0.1, 0.2])}, log_x=True),
        Matrix("matrix", "share", ["r"], ["c", "d"], [[0.3, None]]),
        Vectors("vectors", "images", {"a": (image, probability), "b": (image, 1 - probability)}, list("abcdefghij")),
        Pictures("grid", "images", {"a": image, "b": -image}, ["1", "2", "3"]),
    ]
    save_findings(
        Findings("title", "this with that", [{"guidance": "a", "share": math.nan}], ["said"], parts), tmp_path
    )
    for part in parts:
        assert Image.open(tmp_path / f"{part.name}.png").width > 100
    tiles = Image.open(tmp_path / "grid.tiles.png")
    assert tiles.size == (3 * 8, 2 * 8)
    assert tiles.getpixel((8 + 2, 1))[0] == round((image[1, 0, 1, 2].item() + 1) * 127.5)
    findings = json.loads((tmp_path / "findings.json").read_text())
    assert findings["compared"] == "this with that" and [part["kind"] for part in findings["parts"]][4] == "Pictures"
    assert json.loads((tmp_path / "metrics.json").read_text()) == [{"guidance": "a", "share": None}]


@pytest.mark.parametrize(
    "shape, stem, positions", [((1, 8, 8), (3, 1), 1), ((3, 64, 64), (3, 1), 8), ((3, 128, 128), (7, 2), 4)]
)
def test_resnet_keeps_small_images_large(shape, stem, positions):
    judge = attribute_resnet18(shape, outputs=5).eval()
    size = []
    judge.layer4.register_forward_hook(lambda module, given, result: size.append(result.shape[-1]))
    assert judge(torch.rand(2, *shape)).shape == (2, 5)
    assert (judge.conv1.kernel_size[0], judge.conv1.stride[0]) == stem and size == [positions]


@pytest.mark.slow
def test_reconstruction_is_judged_against_images_and_labels(run, tmp_path):
    entries, folder = evaluated(tmp_path / "e", run, "count=30", "sampler.steps=50")
    by_name = {entry["guidance"]: entry for entry in entries}
    best, free, trivial = by_name["nlbp_gentle"], by_name["none"], by_name["majority"]
    for key in ("agreement", "judge_agreement", "label_agreement", "judge_label_agreement"):
        assert best[key] > 0.93 > 0.91 > trivial[key] > free[key]
        low, high = best[f"{key}_interval"]
        assert low <= best[key] <= high and high - low < 0.1
    labels = torch.stack([run.source.split("test")[i]["attributes"] for i in range(30)])
    assert trivial["label_agreement"] == pytest.approx((labels == 0).double().mean().item())  # most are no given digit
    assert best["diversity"] < free["diversity"] and best["judge_frechet"] < free["judge_frechet"]
    assert (tmp_path / "e/metrics.json").read_bytes() == (folder / "metrics.json").read_bytes()
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files == {
        "evaluate.yaml", "metrics.json", "findings.json", "attributes.csv", "table.csv", "table.md", "table.tex",
        "agreement.png", "mae.png", "violation.png", "vectors.png", "grid.png", "grid.tiles.png",
    }  # fmt: skip
    assert len(list((folder / "nlbp").glob("*.png"))) == 30 + 8 * 3
    lines = next(p for p in json.loads((folder / "findings.json").read_text())["parts"] if p["kind"] == "Lines")
    guided, unguided = (lines["series"][name][1] for name in ("nlbp", "none"))
    assert guided[0] == pytest.approx(unguided[0], abs=1e-3)  # no guidance yet at the noisiest step
    assert guided[-1] < 0.5 * unguided[-1]
    assert "<h2>Reconstruction of 30 held-out images" in (tmp_path / "e/report.html").read_text()


@pytest.mark.slow
def test_edits_are_counted_beside_those_that_nobody_asked_for(run, tmp_path):
    options = (
        "study=edit",
        "count=4",
        "sampler.steps=30",
        "study.attributes=[digit_0, digit_8]",
        "study.values=[-5, 90%]",
    )
    (entry,), folder = evaluated(tmp_path / "e", run, *options)
    with (folder / "settings.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["attribute"] for row in rows] == ["digit_0", "digit_0", "digit_8", "digit_8"]
    assert float(rows[1]["logit"]) == pytest.approx(math.log(9))
    assert sum(float(row["success"]) for row in rows) / 4 == pytest.approx(entry["edit_success"])
    assert entry["edit_success"] > 0.7 and entry["edit_flipped"] <= entry["edit_success"]
    assert {"judge_edit_success", "judge_side_effects", "judge_unedited_changes"} <= set(entry)
    matrix = next(p for p in json.loads((folder / "findings.json").read_text())["parts"] if p["kind"] == "Matrix")
    assert matrix["values"][0][0] is None and matrix["values"][1][8] is None  # the edit itself is no side effect
    assert (folder / "nlbp_gentle/digit_8_-5_00003.png").exists()


@pytest.mark.slow
def test_several_attributes_are_set_at_once(run, tmp_path):
    options = ("study=multi", "count=6", "sampler.steps=30")
    given = "study.settings=[{digit_3: 6, digit_5: -6}]"
    entries, _ = evaluated(tmp_path / "given", run, *options, given)
    assert [entry["others"] for entry in entries] == ["kept", "free"]
    free = entries[1]
    assert free["attributes_set"] == 2 and free["edit_success"] > 0.8 and free["joint_success"] <= free["edit_success"]
    random, _ = evaluated(tmp_path / "random", run, *options, "study.sizes=[1,3]", "study.each=1")
    again, _ = evaluated(tmp_path / "again", run, *options, "study.sizes=[1,3]", "study.each=1")
    assert [entry["attributes_set"] for entry in random] == [1, 3, 1, 3]
    assert random == again


@pytest.mark.slow
def test_the_ablation_says_which_order_it_found(run, tmp_path):
    options = (
        "study=ablation",
        "count=12",
        "sampler.steps=10",
        "study.rules=[naive,nlbp]",
        "study.latents=[random,trained]",
    )
    drop = [f"~methods.{rule}_{r}" for rule in ("naive", "nlbp", "gentle") for r in ("zero", "closed_form")]
    drop += ["~methods.gentle_random", "~methods.gentle_trained"]
    entries, folder = evaluated(tmp_path / "e", run, *options, *drop)
    names = [entry["guidance"] for entry in entries]
    assert names == ["naive_random", "nlbp_random", "naive_trained", "nlbp_trained", "gradient", "none", "majority"]
    scores = {entry["guidance"]: entry["judge_agreement"] for entry in entries}
    findings = json.loads((folder / "findings.json").read_text())
    best, worst = max(names[:4], key=scores.get), min(names[:4], key=scores.get)
    claimed = (best == "nlbp_trained") + (worst == "naive_random")
    said = ["another", "not quite as the paper claims", "as the paper claims"][claimed]
    assert findings["verdicts"][0].startswith(f"The order by the judge is {said}: of the back-projections {best} ")
    matrix = next(part for part in findings["parts"] if part["kind"] == "Matrix")
    assert matrix["values"] == [
        [scores["naive_random"], scores["nlbp_random"]],
        [scores["naive_trained"], scores["nlbp_trained"]],
    ]
    with pytest.raises(InputError, match=r"lacks \['gentle_random'"):
        evaluated(tmp_path / "x", run, "study=ablation", *drop)


@pytest.mark.slow
def test_penrose_errors_are_rounding_and_the_closed_form_is_the_most_natural(run, tmp_path):
    entries, _ = evaluated(tmp_path / "e", run, "study=penrose", "count=20")
    laws = ("g_pinv_g", "pinv_g_pinv", "g_pinv")
    by = {(entry["pinv"], entry["precision"]): entry for entry in entries}
    assert len(by) == 4 * 2
    for (pinv, precision), entry in by.items():
        assert all(entry[f"{law}_relative"] < {"float32": 1e-4, "float64": 1e-12}[precision] for law in laws)
        least = by["closed_form", precision]["natural_latents"]
        assert entry["natural_latents"] > least or pinv == "closed_form"
    assert by["closed_form", "float64"]["natural_latents"] == 0


@pytest.mark.slow
def test_more_steps_agree_better_and_take_longer(run, tmp_path):
    entries, folder = evaluated(tmp_path / "e", run, "study=steps", "count=20", "study.steps=[50,2]")
    few, many = entries
    assert (few["steps"], many["steps"]) == (2, 50)
    assert many["judge_agreement"] > few["judge_agreement"] and many["seconds_per_image"] > few["seconds_per_image"]
    assert {"steps.png", "time.png"} <= {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_studies_stand_beside_each_other_and_earlier_results_stay(run, tmp_path):
    folder = tmp_path / "e"
    short = ("count=4", "sampler.steps=2", "study.diversity_targets=0")
    first, _ = evaluated(folder, run, *short)
    evaluated(folder, run, "study=penrose", "count=4")
    second, _ = evaluated(folder, run, *short, "seed=5")
    kept = [path for path in folder.iterdir() if path.name.startswith("reconstruction.")]
    assert len(kept) == 1 and json.loads((kept[0] / "metrics.json").read_text()) == first != second
    report = (folder / "report.html").read_text()
    assert report.count("<h2>Reconstruction") == 1 and report.count("<h2>Penrose") == 1
    (folder / "metrics.json").rename(tmp_path / "metrics.json")
    with pytest.raises(InputError, match=r"holds a metrics\.json that is not an evaluation's"):
        evaluated(tmp_path, run, *short)


@pytest.mark.slow
def test_an_evaluation_from_before_there_were_studies_is_moved_aside(run, tmp_path):
    old = tmp_path / "e"
    old.mkdir()
    (old / "evaluate.yaml").write_text("run: x\n")
    (old / "metrics.json").write_text("[1]")
    evaluated(old, run, "count=2", "sampler.steps=2")
    (moved,) = (path for path in tmp_path.iterdir() if path.name.startswith("e."))
    assert (moved / "metrics.json").read_text() == "[1]" and (old / "reconstruction/metrics.json").exists()


@pytest.mark.slow
def test_a_killed_study_goes_on_where_it_ended(run, tmp_path):
    options = [f"run={run.folder}", f"folder={tmp_path}/e", f"report={tmp_path}/r.html", "count=3", "batch_size=1"]
    options += ["sampler.steps=100", "study.diversity_targets=0", "~methods.none"]
    process = subprocess.Popen(
        [sys.executable, "evaluate.py", *options], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    parts = tmp_path / "e/reconstruction/nlbp/unfinished"
    deadline = time.monotonic() + 300
    while not list(parts.glob("*.safetensors")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path.stem: path.stat().st_mtime_ns for path in parts.glob("*.safetensors")}
    assert 1 <= len(finished) < 3
    pictures = {name: (tmp_path / f"e/reconstruction/nlbp/{int(name):05d}.png").stat().st_mtime_ns for name in finished}
    done = command("evaluate.py", *options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for name, written in pictures.items():  # not sampled again
        assert (tmp_path / f"e/reconstruction/nlbp/{int(name):05d}.png").stat().st_mtime_ns == written
    assert not list(tmp_path.rglob("unfinished")) and len(json.loads((tmp_path / "e/metrics.json").read_text())) == 3


@pytest.mark.slow
def test_misuse_is_refused_before_anything_is_written(run, tmp_path):
    def refused(message: str, *overrides: str) -> None:
        with pytest.raises(InputError, match=message):
            evaluated(tmp_path / "e", run, *overrides)
        assert not list(tmp_path.iterdir())

    refused("test split has images 0 to", "count=1000")
    refused("count must be a whole number", "count=0")
    refused("resamples must be", "resamples=none")
    refused("`methods` must name", "~methods.nlbp", "~methods.nlbp_gentle", "~methods.none")
    refused("must name .* none of it 'majority'", "+guidance@methods.majority=nlbp")
    refused("diversity_samples at least 2", "study.diversity_samples=1")
    refused("needs run=<folder> and operator=trained", "operator=inpainting")
    refused("did you mean digit_8", "study=edit", "study.attributes=[digit8]")
    refused("logits that say yes or no", "study=edit", "study.values=[0]")
    refused("study.values must be a logit", "study=edit", "study.values=[much]")
    refused("did you mean digit_8", "study=multi", "study.settings=[{digit8: 4}]")
    refused("random settings need", "study=multi", "study.each=0")
    refused("no pseudo-inverse is called 'best'", "study=penrose", "study.pinv=[best]")
    refused("sampling steps must be 1 to 1000", "study=steps", "study.steps=[0]")
    refused("would convert the operator's weights", "trainer.precision=bf16-true")


@pytest.mark.slow
def test_without_a_judge_the_guiding_network_judges_alone(run, tmp_path):
    alone = Run.create(tmp_path / "run", run.config)
    alone.take_weights_from(run, but=["judge"])
    entries, folder = evaluated(tmp_path / "e", alone, "count=4", "sampler.steps=2")
    assert not any(key.startswith("judge_") for entry in entries for key in entry)
    assert "an easy judge of its own" in json.loads((folder / "findings.json").read_text())["compared"]


@pytest.mark.slow
def test_what_a_classifier_sees_in_the_images_themselves_agrees_with_itself(run):
    subject = Subject(load_models(configuration("evaluate", f"run={run.folder}")), count=12, resamples=10)
    values = subject.compare(
        {prefix: y.sigmoid() for prefix, y in subject.logits(held_out(run.source, 0, 12)[1]).items()}
    )
    for prefix in ("", "judge_"):
        assert values[f"{prefix}agreement"].eq(1).all() and values[f"{prefix}mae"].eq(0).all()
        assert values[f"{prefix}label_agreement"].mean() > 0.95
