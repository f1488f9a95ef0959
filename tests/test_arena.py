"""The arena: guidances on the same edits, with equal effort."""

import csv
import json
from functools import partial

import pytest
import torch
from commands import configuration
from PIL import Image

from spnn.diffusion import ConstantStrength, FibreSampling, PosteriorGuidance, Sampler
from spnn.diffusion.guidance import unguided
from spnn.errors import InputError
from spnn.evaluation import evaluate
from spnn.evaluation.contest import _between
from spnn.evaluation.effort import Effort, effort
from spnn.sampling.models import load_models


def arena(folder, run, *words: str) -> list[dict]:
    """Entries of a small arena of a run."""
    common = (f"run={run.folder}", f"folder={folder}", "report=null", "trainer.precision=32-true", "study=arena")
    small = ("count=20", "study.each=1", "study.names=[digit_0,digit_8]", "methods.fibre={levels: 1, moves: 1}")
    return evaluate(configuration("evaluate", *common, *small, *words))


@pytest.mark.slow
def test_methods_get_the_same_budget_and_are_compared_at_the_same_time(run, tmp_path):
    only = "study.methods=[nlbp_bounded,fibre,dps,none]"
    entries = arena(tmp_path, run, "study.budgets=[20,10]", only)
    table = {(entry["guidance"], entry["budget"]): entry for entry in entries}
    assert len(table) == 8
    for (name, budget), entry in table.items():
        # A move of the chain takes the slopes at three places, and what is left of the noise goes at last.
        assert entry["evaluations"] == budget and entry["steps"] == budget - 4 * (name == "fibre")
        assert entry["gradients"] == entry["steps"] * (name == "dps")
        assert (entry["gap"] < 1e-4) is (name == "fibre")
        assert 0 <= entry["whole_success"] <= entry["judge_edit_success"] <= 1
        assert entry["psnr"] > 0 and entry["seconds_per_image"] > 0
    assert table["nlbp_bounded", 20]["gap"] < table["none", 20]["gap"]
    folder = tmp_path / "arena"
    written = {path.name for path in folder.iterdir()}
    assert {"table.md", "table_10.md", "equal_time.md", "edits.csv", "pareto.png", "time.png", "grid.png"} <= written
    said = json.loads((folder / "findings.json").read_text())["verdicts"][0]
    assert "Of at most 20 evaluations of the prior" in said and "the quickest one is" in said
    assert all(entry["gap_in_range"] >= 0 for entry in entries)
    assert Image.open(folder / "grid.png").width > 100


def test_several_labels_are_set_together(run, tmp_path):
    words = ("study.settings=[{digit_0: yes, digit_8: no}, {digit_1: yes}]", "study.names=null", "study.budgets=[5]")
    arena(tmp_path, run, *words, "study.methods=[nlbp_bounded]", "count=40", "study.each=2")
    rows = list(csv.DictReader((tmp_path / "arena/edits.csv").open()))
    assert [row["edit"] for row in rows] == ["digit_0_yes__digit_8_no"] * 2 + ["digit_1_yes"] * 2
    assert {row["set"] for row in rows[:2]} == {"2"}
    (table,) = csv.DictReader((tmp_path / "arena/settings.csv").open())
    took = [row["judge_took"] == "True" for row in rows]
    assert float(table["digit_0_yes__digit_8_no"]) == sum(took[:2]) / 2
    assert float(table["digit_1_yes"]) == sum(took[2:]) / 2
    for message, more in (
        ("leave study.names and study.values out", "study.names=[digit_0]"),
        ("is a list", "study.settings=[3]"),
    ):
        with pytest.raises(InputError, match=message):
            arena(tmp_path / "x", run, *words, more)


@pytest.mark.slow
def test_options_are_chosen_on_images_of_the_validation_split(run, tmp_path, monkeypatch):
    looked_at, split = [], type(run.source).split
    monkeypatch.setattr(type(run.source), "split", lambda source, name: looked_at.append(name) or split(source, name))
    (entry,) = arena(tmp_path, run, "study.budgets=[5]", "study.methods=[none]", "split=val")
    assert entry["budget"] == 5 and "val" in looked_at and "test" not in looked_at


def test_what_can_not_be_compared_is_refused(run, tmp_path):
    for message, *words in (
        ("too small for fibre, which asks the prior 1 times in a step and 4 times", "study.budgets=[4]"),
        ("study.budgets are whole numbers of at least 1", "study.budgets=[]"),
        ("study.budgets are whole numbers of at least 1", "study.budgets=[0]"),
        (r"study.methods names \['nlpb'\]; `methods` has nlbp_bounded", "study.methods=[nlpb]"),
        ("split is test, or val", "split=train"),
        ("study=arena draws from noise: leave sampler.start=null", "sampler.start=300"),
        ("study=arena draws from noise, without study.starts", "+study.starts=[300]"),
        (r"the sampler has no option 'et' \(did you mean eta", "study.samplers={none: {et: 0}}"),
        ("`methods` names no guidance to compare", "methods=null"),
    ):
        with pytest.raises(InputError, match=message):
            arena(tmp_path, run, *words)
        assert not (tmp_path / "arena").exists()


def test_effort_is_counted(run):
    models = load_models(configuration("evaluate", f"run={run.folder}"))
    sampler, y = Sampler(models.prior.schedule, 6), torch.zeros(1, 10)
    late = partial(PosteriorGuidance, schedule=lambda t: float(t < 400))
    chain = partial(FibreSampling, schedule=ConstantStrength(), levels=2, moves=3)
    assert effort(models, sampler, unguided, y) == Effort(6, 0, 0)
    found = effort(models, sampler, late, y)
    assert (found.evaluations, found.gradients) == (6, 3)  # t = 833, 666, 500, 333, 166, 0
    assert effort(models, sampler, chain, y) == Effort(6 + 2 * (1 + 2 * 3) + 1, 0)


def test_values_at_a_time_lie_between_those_that_are_known():
    assert _between([1.0, 3.0], [0.2, 0.6], 2.0) == pytest.approx(0.4)
    assert _between([1.0, 3.0], [0.2, 0.6], 9.0) == 0.6
    assert _between([1.0, 3.0], [0.2, 0.6], 1.0) == 0.2
    assert _between([1.0, 3.0], [0.2, 0.6], 0.5) is None
    assert _between([1.0, 3.0], [0.2, None], 2.0) is None
