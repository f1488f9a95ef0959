"""The runs that come with the package: their cards are true, and commands without a run use them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi

from spnn import Session
from spnn.composing import composed
from spnn.data.module import scale_to_unit_range
from spnn.errors import InputError
from spnn.metrics import penrose_errors
from spnn.outputs import outputs_of
from spnn.runs import Run
from spnn.runs.embedded import embedded_runs, folder_of, home, with_default_run
from spnn.runs.pack import card, pack
from spnn.training import train

RUNS = embedded_runs()


def held_out(run: Run, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    batch = run.source.split("test").__getitems__(list(range(count)))
    return scale_to_unit_range(batch["image"]), batch["labels"]


def test_faces_and_digits_come_with_the_package():
    assert RUNS == ["digits", "faces"]
    assert sum(file.stat().st_size for name in RUNS for file in folder_of(name).rglob("*")) < 20e6


@pytest.mark.parametrize("name", RUNS)
def test_a_card_is_what_the_program_writes_and_names_no_machine(name):
    run = Run(name)
    text = (run.folder / "README.md").read_text(encoding="utf-8")
    assert text == card(run, name)
    assert ('pipe(images, set={"Young": "yes"})' in text) == (name == "faces")
    for file in ("README.md", "config.yaml", "run.json"):
        found = (run.folder / file).read_text(encoding="utf-8")
        assert not any(place in found for place in ("/tmp", "/home", "/root", "/work", "http"))


@pytest.mark.parametrize("name", RUNS)
def test_the_figures_of_a_card_are_those_of_its_files(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run = Run(name)
    images, labels = held_out(run, len(run.source.split("test")))
    with torch.no_grad():
        for stage, model in (("task", run.surjection()), ("judge", run.judge())):
            outputs = torch.cat([outputs_of(model, part) for part in images.split(500)])
            metric = run.source.readout.metric()
            metric.update(run.source.readout.decode(outputs), labels)
            scores = run.source.readout.by_score(metric.compute())
            written = {score: run.metrics(stage)[score] for score in scores}
            found = {score: float(torch.stack([*values.values()]).mean()) for score, values in scores.items()}
            assert found == pytest.approx(written, abs=2e-3)
        g = run.surjection()
        errors = penrose_errors(g, images[:8], g(images[8:16]))
    assert max(error.max() for name, error in errors.items() if name.endswith("relative")) < 1e-4


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.nightly
def test_the_agreement_of_a_card_is_found_again(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    written = json.loads((folder_of(name) / "evaluation/reconstruction/metrics.json").read_text(encoding="utf-8"))
    low, high = next(entry["judge_agreement_interval"] for entry in written if entry["guidance"] == "nlbp_gentle")
    found = {e["guidance"]: e for e in Session.load(name).evaluate(count=100, values={"sampler.steps": 50}).entries}
    assert low <= found["nlbp_gentle"]["judge_agreement"] <= high


def test_a_session_of_the_package_draws_and_writes_only_its_cache(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    drawn = Session.load("digits").generate({"digit": 3}, 2, steps=4)
    assert drawn.images.shape == (2, 1, 8, 8)
    assert not list(tmp_path.iterdir())


def test_results_go_to_the_outputs_of_the_working_directory():
    assert home("faces") == "outputs/embedded/faces"
    assert home(None) == "outputs"
    assert home("outputs/mine") == "outputs/mine"


def test_a_folder_comes_before_a_run_of_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("faces").mkdir()
    assert folder_of("faces") == Path("faces") and home("faces") == "faces"
    with pytest.raises(InputError, match=r"faces is not a run's folder"):
        Run("faces")


def test_training_never_goes_into_the_package(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = composed("train", [], {"folder": "faces", "resume": True})
    with pytest.raises(InputError, match="is not a run's folder"):
        train(config, "faces", said=["folder=faces", "resume=true"])


def test_a_packed_run_is_not_trained_anew_by_resuming_it(run, tmp_path):
    packed = pack(run, tmp_path / "mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="the stage `inverse` starts from weights that another has trained"):
        train(composed("train", [], {"folder": str(packed), "resume": True}), packed, said=["resume=true"])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "words, expected",
    [([], "faces"), (["operator=super_resolution"], "faces"), (["run=mine"], "mine"), (["prior.run=mine"], None),
     (["prior=ddpm_celebahq_256"], None)],
)  # fmt: skip
def test_the_default_run_stands_in_where_a_prior_is_missing(words, expected):
    assert with_default_run(composed("sample", words, {})).run == expected


def test_a_run_goes_to_the_hub_and_comes_from_it(run, tmp_path, monkeypatch):
    published, calls = tmp_path / "hub/digits", []
    monkeypatch.setattr(HfApi, "create_repo", lambda self, name, **options: calls.append((name, options)))
    monkeypatch.setattr(
        HfApi, "upload_folder", lambda self, repo_id, folder_path: shutil.copytree(folder_path, published)
    )
    Session.load(run.folder).push_to_hub("someone/digits", private=True)
    assert calls == [("someone/digits", {"private": True, "exist_ok": True})]
    assert (published / "README.md").read_text().startswith("---\nlibrary_name: spnn\n")
    monkeypatch.setattr("spnn.session.snapshot_download", lambda name, **_: str(published))
    assert Session.from_pretrained("someone/digits").models.run.folder == published


def test_what_is_no_run_of_the_hub_is_named(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="can't load a run from someone/nothing"):
        Session.from_pretrained("someone/nothing")
    with pytest.raises(InputError, match="only a run can be saved"):
        Session(Session.load("digits").models.prior).save_pretrained("x")


def test_pack_keeps_what_draws_and_refuses_to_overwrite(run, tmp_path):
    packed = pack(run, tmp_path / "mine")
    assert not list(packed.rglob("*.ckpt")) and Run(packed).config.name == "mine"
    first, second = (Session.load(folder).reconstruct(steps=4, seed=1).images for folder in (run.folder, packed))
    assert (first - second).abs().mean() < 0.05
    with pytest.raises(InputError, match="is there already"):
        pack(run, packed)
    assert torch.equal(Session.from_pretrained(packed).reconstruct(steps=4, seed=1).images, second)
    with pytest.raises(InputError, match="has trained nothing"):
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty/config.yaml").write_text((packed / "config.yaml").read_text())
        pack(Run(tmp_path / "empty"), tmp_path / "other")
