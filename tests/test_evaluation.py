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
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from commands import REPOSITORY, command, configuration, succeed
from PIL import Image
from torch import nn

from spnn.data import Digits, Source
from spnn.data.arrays import ArrayDataset
from spnn.errors import InputError
from spnn.evaluation import evaluate
from spnn.evaluation.findings import Bars, Findings, Lines, Matrix, Pictures, Table, Vectors
from spnn.evaluation.judge import attribute_resnet18
from spnn.evaluation.results import save_findings
from spnn.evaluation.run import _sample
from spnn.evaluation.study import Request, Study
from spnn.evaluation.subject import Subject
from spnn.evaluation.tables import cells, save_table
from spnn.readout import Binary
from spnn.runs import Run
from spnn.sampling.images import held_out
from spnn.sampling.models import Models, load_models


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


def test_findings_become_files(tmp_path):
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
    labels = torch.stack([run.source.split("test")[i]["labels"] for i in range(30)])
    assert trivial["label_agreement"] == pytest.approx((labels == 0).double().mean().item())  # most are no given digit
    assert best["diversity"] < free["diversity"] and best["judge_frechet"] < free["judge_frechet"]
    assert (tmp_path / "e/metrics.json").read_bytes() == (folder / "metrics.json").read_bytes()
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files == {
        "evaluate.yaml", "metrics.json", "findings.json", "labels.csv", "images.csv", "table.csv",
        "table.md", "table.tex", "agreement.png", "mae.png", "violation.png", "vectors.png", "grid.png",
    }  # fmt: skip
    with (folder / "images.csv").open() as file:
        each = [row for row in csv.DictReader(file) if row["guidance"] == "nlbp_gentle"]
    assert [row["image"] for row in each] == [f"{i:05d}" for i in range(30)]
    for key in ("agreement", "judge_agreement", "saturated", "fine_energy"):
        assert sum(float(row[key]) for row in each) / 30 == pytest.approx(best[key], abs=1e-5)
    assert best["fine_energy_ratio"] == pytest.approx(best["fine_energy"] / best["real_fine_energy"])
    assert 0.5 < best["fine_energy_ratio"] < 2 and "real_saturated" not in trivial
    assert len(list((folder / "nlbp").glob("*.png"))) == 30 + 8 * 3
    lines = next(p for p in json.loads((folder / "findings.json").read_text())["parts"] if p["kind"] == "Lines")
    guided, unguided = (lines["series"][name][1] for name in ("nlbp_gentle", "none"))
    assert guided[0] == pytest.approx(unguided[0], abs=1e-3)  # no guidance yet at the noisiest step
    assert guided[-1] < 0.5 * unguided[-1]
    assert "<h2>Reconstruction of 30 held-out images" in (tmp_path / "e/report.html").read_text()


def each_edit(folder: Path) -> list[dict[str, str]]:
    with (folder / "edits.csv").open() as file:
        return list(csv.DictReader(file))


def share(rows: list[dict[str, str]], key: str = "took") -> float:
    return sum(row[key] == "True" for row in rows) / len(rows)


@pytest.mark.slow
def test_edits_set_what_no_classifier_sees_and_are_counted_beside_what_nobody_asked_for(run, tmp_path):
    options = ("study=edit", "count=30", "sampler.steps=30", "study.names=[digit_0, digit_8]", "study.each=3")
    entries, folder = evaluated(tmp_path / "e", run, *options, "study.others=[keep,follow]")
    assert [(entry["guidance"], entry["others"]) for entry in entries] == [
        ("nlbp_bounded", "keep"),
        ("nlbp_bounded", "follow"),
    ]
    names, images = held_out(run.source, 0, 30)
    seen = {"": run.surjection()(images) > 0, "judge_": run.judge()(images) > 0}
    rows, edits = each_edit(folder), 0
    for k in (0, 8):
        for value in ("no", "yes"):
            shows = (seen[""][:, k] == (value == "no")) & (seen["judge_"][:, k] == (value == "no"))
            opposite = [names[i] for i in shows.nonzero().flatten().tolist()]
            edited = [row["image"] for row in rows if row["edit"] == f"digit_{k}_{value}" and row["others"] == "keep"]
            places, few = sorted(map(opposite.index, edited)), min(3, len(opposite))
            assert (
                len(set(places)) == few
                and np.diff([*places, places[0] + len(opposite)]).max() <= len(opposite) // few + 1
            )
            edits += few
    assert edits >= 8 and len(rows) == 2 * edits
    assert [row["image"] for row in rows[:edits]] == [row["image"] for row in rows[edits:]]
    for entry in entries:
        own = [row for row in rows if row["others"] == entry["others"]]
        well = [row for row in own if row["well_judged"] == "True"]
        assert entry["edits"] == len(well) == len(own)  # the judge recognises digits well
        for prefix in ("", "judge_"):
            assert entry[f"{prefix}edit_success"] == pytest.approx(share(well, f"{prefix}took"))
            low, high = entry[f"{prefix}edit_success_interval"]
            assert low <= entry[f"{prefix}edit_success"] <= high
            changed = sum(int(row[f"{prefix}side_effects"]) for row in well) / len(well)
            assert entry[f"{prefix}side_effects"] == pytest.approx(changed)
        assert entry["hard_edit_success"] is None and entry["unedited_judge_frechet"] > 0
        saturated = [float(row["saturated"]) for row in own]
        assert entry["saturated"] == pytest.approx(sum(saturated) / len(own), abs=1e-5)
    for row in rows:  # by the pictures
        picture = Image.open(folder / f"nlbp_bounded_{row['others']}" / f"{row['image']}_{row['edit']}.png")
        image = torch.from_numpy(np.array(picture.convert("L")))[None, None] / 127.5 - 1
        y, k = run.judge()(image)[0], int(row["edit"][6])
        if abs(y[k]) > 0.5:  # not a matter of a byte's rounding
            assert (row["judge_took"] == "True") == ((y[k] > 0) == row["edit"].endswith("yes"))
    matrices = [p for p in json.loads((folder / "findings.json").read_text())["parts"] if p["kind"] == "Matrix"]
    assert len(matrices) == 2
    for matrix in matrices:
        assert matrix["values"][0][0] is None and matrix["values"][1][8] is None  # the edit itself is no side effect
    assert len(list((folder / "nlbp_bounded_unedited").glob("*.png"))) == 30


@pytest.mark.nightly
def test_most_edits_of_digits_to_yes_take_and_few_without_guidance(run, tmp_path):
    options = ("study=edit", "count=30", "study.values=[yes]", "study.each=2", "~methods.nlbp_bounded")
    methods = ("+guidance@methods.nlbp_gentle=nlbp_gentle", "+guidance@methods.none=none")
    (gentle, free), folder = evaluated(tmp_path / "e", run, *options, *methods)
    assert gentle["others"] == "follow" and gentle["edits"] == free["edits"] >= 16
    assert gentle["edit_success"] > 0.65 > free["edit_success"] + 0.25
    assert gentle["judge_edit_success"] > free["judge_edit_success"] + 0.2
    assert gentle["judge_unedited_changes"] < gentle["judge_side_effects"]  # the digit that it was
    for row in (row for row in each_edit(folder) if row["guidance"] == "none"):  # from the same noise as unedited
        edited, unedited = (
            np.array(Image.open(folder / f"none_{name}.png"))
            for name in (f"follow/{row['image']}_{row['edit']}", f"unedited/{row['image']}")
        )
        assert (edited == unedited).mean() > 0.99
    bars = next(p for p in json.loads((folder / "findings.json").read_text())["parts"] if p["kind"] == "Bars")
    names = [f"{method}, others follow: to yes" for method in ("nlbp_gentle", "none")]
    assert list(bars["series"]) == names and len(bars["labels"]) == 10


@pytest.mark.nightly
def test_edits_that_start_from_the_image_stay_closer_to_it(run, tmp_path):
    options = ("study=edit", "count=12", "study.names=[digit_8]", "study.each=2", "sampler.steps=30")
    entries, folder = evaluated(tmp_path / "e", run, *options, "study.starts=[null,100]")
    assert [entry["start"] for entry in entries] == ["noise", 100]
    far, near = entries
    assert near["distance"] < far["distance"]
    for entry in entries:
        own = [float(row["distance"]) for row in each_edit(folder) if row["start"] == str(entry["start"])]
        assert len(own) == 4 and entry["distance"] == pytest.approx(sum(own) / 4)  # two to no, two to yes


@pytest.mark.slow
def test_attributes_that_the_judge_tells_badly_are_counted_apart(run, tmp_path):
    models = load_models(configuration("evaluate", f"run={run.folder}"))
    accuracy = Subject(models, 12, resamples=10).balanced_accuracy
    hard = run.source.readout.names[accuracy.argmin()]
    just_above = (accuracy.min().item() + 1) / 2
    options = ("study=edit", "count=12", "sampler.steps=10", "study.values=[4]", f"study.names=[{hard}]")
    (entry,), folder = evaluated(tmp_path / "e", run, *options, f"study.well_judged={just_above}", "study.others=[0.5]")
    rows = each_edit(folder)
    assert entry["edits"] == 0 and entry["edit_success"] is None is entry["judge_edit_success_interval"]
    assert {row["well_judged"] for row in rows} == {"False"} and {row["others"] for row in rows} == {"0.5"}
    assert entry["hard_judge_edit_success"] == pytest.approx(share(rows, "judge_took"))


@pytest.mark.nightly
def test_several_attributes_are_set_at_once(run, tmp_path):
    guidance = ("~methods.nlbp_bounded", "+guidance@methods.gentle=nlbp_gentle")
    options = ("study=multi", "count=6", "sampler.steps=30", *guidance)
    given = "study.settings=[{digit_3: 6, digit_5: -6}, {digit_1: yes}]"
    entries, folder = evaluated(tmp_path / "given", run, *options, given, "study.others=[keep,free]")
    assert [(entry["others"], entry["set"]) for entry in entries] == [
        ("keep", 1), ("keep", 2), ("free", 1), ("free", 2)
    ]  # fmt: skip
    rows = each_edit(folder)
    assert len(rows) == 2 * 2 * 6 and {row["edit"] for row in rows} == {"digit_3_+6__digit_5_-6", "digit_1_yes"}
    free = entries[3]
    assert free["edit_success"] > 0.6 and free["edit_success"] <= free["each"]
    own = [row for row in rows if (row["others"], row["set"]) == ("free", "2")]
    assert len(own) == free["edits"] == 6 and free["edit_success"] == pytest.approx(share(own))
    assert free["each"] == pytest.approx(sum(float(row["each"]) for row in own) / 6)


@pytest.mark.nightly
def test_random_edits_are_drawn_again_and_set_what_an_image_does_not_show(run, tmp_path):
    options = ("study=multi", "count=5", "sampler.steps=4", "study.sizes=[1,3]", "study.others=[follow]")
    random, folder = evaluated(tmp_path / "random", run, *options)
    again, _ = evaluated(tmp_path / "again", run, *options)
    assert [entry["set"] for entry in random] == [1, 3] and random == again
    names, images = held_out(run.source, 0, 5)
    seen = run.judge()(images) > 0
    rows = each_edit(folder)
    assert [row["image"] for row in rows] == 2 * names
    for row in rows:
        edits = row["edit"].split("__")
        assert len(edits) == int(row["set"])
        for edit in edits:
            shown = seen[names.index(row["image"]), int(edit[6])].item()
            assert edit.endswith("no" if shown else "yes")
    _, others = held_out(run.source, 5, len(run.source.split("test")) - 5)
    seen = run.judge()(others) > 0
    for row in rows:
        show = torch.stack([seen[:, int(edit[6])] == edit.endswith("yes") for edit in row["edit"].split("__")]).all(0)
        assert float(row["real_share"]) == pytest.approx(show.double().mean().item())
    for entry in random:
        own = [row for row in rows if row["set"] == str(entry["set"])]
        common = [row for row in own if float(row["real_share"]) >= 0.01]
        assert entry["common_edits"] == len(common) and {0, len(own)} != {len(common)}
        assert entry["common_judge_edit_success"] == (share(common, "judge_took") if common else None)
    evaluated(tmp_path / "other", run, *options, "study.seed=1")
    assert [row["edit"] for row in each_edit(tmp_path / "other/multi")] != [row["edit"] for row in rows]


@pytest.mark.nightly
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


@pytest.mark.nightly
def test_more_steps_agree_better_and_take_longer(run, tmp_path):
    solvers = "study.solvers={own: null, dpm: {order: 2, eta: 0}}"
    entries, folder = evaluated(tmp_path / "e", run, "study=steps", "count=20", "study.steps=[50,2]", solvers)
    few, many, *others = entries
    assert [(entry["solver"], entry["steps"]) for entry in others] == [("dpm", 2), ("dpm", 50)]
    assert others[1]["mae"] != many["mae"]
    assert (few["steps"], many["steps"]) == (2, 50)
    assert many["judge_agreement"] > few["judge_agreement"] and many["seconds_per_image"] > few["seconds_per_image"]
    assert {"steps.png", "time.png"} <= {path.name for path in folder.iterdir()}


@pytest.mark.nightly
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


@pytest.mark.nightly
def test_jobs_of_a_multirun_stay_apart_and_end_with_one_table(run, tmp_path):
    words = (f"run={run.folder}", "seed=1,2", "study=edit", "count=2", "sampler.steps=10", "study.others=[keep]")
    printed = succeed("evaluate.py", "-m", *words, "hydra/launcher=joblib", f"hydra.sweep.dir={tmp_path}")
    assert "comparison of 2 jobs" in printed and "judge edits %" in printed
    figures = [json.loads((tmp_path / f"{job}/edit/metrics.json").read_text())[0]["distance"] for job in "01"]
    assert figures[0] != figures[1]
    assert all((tmp_path / f"{job}/report.html").exists() for job in "01")


@pytest.mark.nightly
def test_an_evaluation_from_before_there_were_studies_is_moved_aside(run, tmp_path):
    old = tmp_path / "e"
    old.mkdir()
    (old / "evaluate.yaml").write_text("run: x\n")
    (old / "metrics.json").write_text("[1]")
    evaluated(old, run, "count=2", "sampler.steps=2")
    (moved,) = (path for path in tmp_path.iterdir() if path.name.startswith("e."))
    assert (moved / "metrics.json").read_text() == "[1]" and (old / "reconstruction/metrics.json").exists()


@pytest.mark.nightly
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
    refused("did you mean digit_8", "study=edit", "study.names=[digit8]")
    refused("says neither yes nor no", "study=edit", "study.values=[0]")
    refused("study.values must be a list of at least one", "study=edit", "study.values=[]")
    refused("must be yes or no, a logit", "study=edit", "study.values=[much]")
    refused("study.each must be a whole number", "study=edit", "study.each=0")
    refused("study.others must be a list", "study=edit", "study.others=follow")
    refused("study.others must be keep, likely, follow, free", "study=edit", "study.others=[most]")
    refused("study.starts must be a list", "study=edit", "study.starts=600")
    refused("sampling can't start from step 1000", "study=multi", "study.starts=[1000]")
    refused("study.quantile must lie between 0 and 1", "study=edit", "study.quantile=1")
    refused("well_judged is a balanced accuracy from 0 to 1", "study=multi", "study.well_judged=1.5")
    (digit,) = run.source.split("test")[0]["labels"].nonzero().flatten().tolist()
    only = ("count=1", f"study.names=[digit_{digit}]", "study.values=[yes]")
    refused("no held-out image shows the opposite of what is set", "study=edit", *only)
    refused("names no guidance to edit with", "study=edit", "~methods.nlbp_bounded")
    refused("did you mean digit_8", "study=multi", "study.settings=[{digit8: 4}]")
    refused("study.sizes must name numbers", "study=multi", "study.sizes=[2,0]")
    refused("asks for 11 labels of 10", "study=multi", "study.sizes=[11]")
    refused("study.settings is a list of", "study=multi", "study.settings=[digit_8]")
    refused("no pseudo-inverse is called 'best'", "study=penrose", "study.pinv=[best]")
    refused("sampling steps must be 1 to 1000", "study=steps", "study.steps=[0]")
    for solvers in ("[dpm]", "{dpm: 2}", "{dpm: {steps: 3}}"):
        refused("study.solvers are names with options of the sampler", "study=steps", f"study.solvers={solvers}")
    refused(r"no option 'ordr' \(did you mean order", "study=steps", "study.solvers={dpm: {ordr: 2}}")
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
        {prefix: y.sigmoid() for prefix, y in subject.views(held_out(run.source, 0, 12)[1]).items()}
    )
    for prefix in ("", "judge_"):
        assert values[f"{prefix}agreement"].eq(1).all() and values[f"{prefix}mae"].eq(0).all()
        assert values[f"{prefix}label_agreement"].mean() > 0.95


@pytest.mark.slow
def test_real_images_to_compare_with_are_not_those_held_out_and_are_told_well(run):
    subject = Subject(load_models(configuration("evaluate", f"run={run.folder}")), count=12, resamples=10)
    names, others = held_out(run.source, 12, 168)
    assert torch.equal(subject.real, others) and len(names) == len(subject.real_labels)
    right = (run.judge()(others) > 0) == (subject.real_labels > 0)
    has = subject.real_labels > 0
    expected = [(right[has[:, k], k].double().mean() + right[~has[:, k], k].double().mean()) / 2 for k in range(10)]
    assert subject.balanced_accuracy.tolist() == pytest.approx(torch.stack(expected).tolist(), abs=1e-5)
    assert min(expected) > 0.8
    assert subject.verdict(subject.realism(subject.images)) is None
    assert "fine detail" in subject.verdict(subject.realism(torch.randn(12, 1, 8, 8)))
    few = Subject(load_models(configuration("evaluate", f"run={run.folder}")), count=100, resamples=10)
    assert len(few.real) == len(few.real_labels) == 80 + 180  # too few are left: those of the validation split, too


class Pixels(nn.Module):
    """Ten pixels of an image as its outputs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, 20:30]


def subject_of(names: tuple[str, ...], count: int, source: Source | None = None) -> Subject:
    run = SimpleNamespace(source=source or Digits(), folder="a/run")
    return Subject(Models(None, Pixels(), Binary(names), None, run), count=count, resamples=10)


@pytest.mark.parametrize("count, left", [(90, 90), (91, 89 + 180), (180, 180)])
def test_other_real_images_are_none_of_the_held_out_ones(count, left):
    subject = subject_of(Digits.label_names, count)
    assert len(subject.real) == len(subject.real_labels) == left
    held_out = {image.numpy().tobytes() for image in subject.images}
    assert not any(image.numpy().tobytes() in held_out for image in subject.real)


def test_an_operator_of_other_labels_is_refused_and_one_of_another_order_compared_in_its_own():
    names = Digits.label_names
    usual, turned = subject_of(names, 20), subject_of(names[::-1], 20)
    for what in ("labels", "real_labels"):
        assert torch.equal(getattr(turned, what), getattr(usual, what).flip(1))
    assert torch.equal(turned.baseline, usual.baseline.flip(0))
    assert torch.equal(subject_of(names[3:5], 20).labels, usual.labels[:, 3:5])
    with pytest.raises(InputError, match=r"but a/run has no label Hat: study a run"):
        subject_of(("digit_1", "Hat"), 20)
    with pytest.raises(InputError, match=r"for a run's own network of at most 8192 outputs: set numbers"):
        _ = usual.training_outputs


def test_held_out_images_are_decoded_once():
    read = []

    class Counted(ArrayDataset):
        def __getitems__(self, indices):
            read.extend(indices)
            return super().__getitems__(indices)

    source = Digits()
    test = source.splits["test"]
    source.splits["test"] = Counted(test.images, test.labels)
    subject = subject_of(source.label_names, 30, source)
    assert len(subject.labels) == 30 and len(subject.real) == len(subject.real_labels) == 150
    assert sorted(read) == list(range(180))


def test_an_interrupted_study_goes_on_with_a_method_more_and_draws_what_has_changed(tmp_path, monkeypatch):
    class Few(Study):
        name = "few"

        def requests(self):
            rows = {"names": self.subject.names, "seeds": torch.arange(2), "y": self.subject.y}
            return {f"{name}_x": Request(guidance, **rows) for name, guidance in self.methods().items()}

        def conclude(self, samples):
            return samples

    subject, drawn = subject_of(Digits.label_names, 2), []

    def draw(study, name, request, models, store):
        drawn.append((name, len(store.missing())))
        if store.missing():
            store.add({"index": torch.arange(2), "image": torch.zeros(2, 1, 8, 8)})

    def interrupted(*words):
        drawn.clear()
        config = configuration("evaluate", "run=x", "study=steps", f"folder={tmp_path}", *words)
        study = Few()
        study.begin(subject, config)
        _sample(study, study.requests(), subject.models, tmp_path / "few", tmp_path)
        return dict(drawn)

    monkeypatch.setattr("spnn.evaluation.run._draw", draw)
    monkeypatch.setattr(Models, "fingerprint", lambda _: torch.zeros(1, 2))
    assert interrupted() == {"nlbp_gentle_x": 2}
    added = "+guidance@methods.nlbp=nlbp", "+guidance@methods.nlbp_gentle_more=naive"
    assert interrupted(*added) == {"nlbp_gentle_x": 0, "nlbp_x": 2, "nlbp_gentle_more_x": 2}
    assert interrupted(*added, "methods.nlbp.stop=0.5") == {"nlbp_gentle_x": 0, "nlbp_x": 2, "nlbp_gentle_more_x": 0}
    assert interrupted(*added, "sampler.steps=9") == {"nlbp_gentle_x": 2, "nlbp_x": 2, "nlbp_gentle_more_x": 2}
