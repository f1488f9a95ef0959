"""The commands, run as a user runs them: train, sample and evaluate on digits; and what they say when misused."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from commands import REPOSITORY, check_configuration, configuration, fail, succeed
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from spnn.data.layouts import write_faces
from spnn.diffusion import GaussianMixturePrior
from spnn.entry import _without_nulls
from spnn.errors import InputError
from spnn.runs import Run, check_results_folder, fresh_folder
from spnn.training import train


@pytest.mark.slow
def test_training_leaves_a_folder_that_says_everything(run):
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics["task"]["accuracy"] > 0.96  # always "no" is right for 0.9 of the attributes
    assert metrics["task"]["right_inverse_error"] < 1e-4
    assert metrics["inverse"]["reconstruction"] < 0.1
    assert metrics["prior"]["loss"] < 0.5  # 1 is predicting nothing
    for stage in ("task", "inverse", "prior"):
        folder = run.folder / stage
        with (folder / "metrics.csv").open() as file:
            assert {"train/loss", "val/loss"} <= set(csv.DictReader(file).fieldnames)
        assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
        assert run.weights(stage).exists()
    assert OmegaConf.to_container(run.config, throw_on_missing=True)["stage"]["task"]["batch_size"] == 128


@pytest.mark.slow
def test_the_priors_weights_are_the_averaged_ones(run):
    best = torch.load(run.folder / "prior/checkpoints/best.ckpt", map_location="cpu", weights_only=True)
    weights = run.prior().state_dict()
    averaged, last = best["state_dict"], best["current_model_state"]
    assert all(torch.equal(value, averaged[f"prior.{name}"]) for name, value in weights.items())
    assert not all(torch.equal(value, last[f"prior.{name}"]) for name, value in weights.items())


@pytest.mark.slow
def test_phase_two_changes_the_pseudo_inverse_and_leaves_the_task_alone(run):
    before, after = run.build("surjection"), run.surjection()
    run.load_weights("task", before)
    image = torch.rand(5, 1, 8, 8) * 2 - 1
    torch.testing.assert_close(before(image), after(image))
    assert not torch.allclose(before.pinv(before(image)), after.pinv(after(image)), atol=1e-3)


@pytest.mark.nightly
def test_evaluation_compares_the_methods(run):
    printed = succeed("evaluate.py", f"run={run.folder}", "count=60", "+guidance@methods.naive=naive")
    folder = run.folder / "evaluation"
    entries = {entry["guidance"]: entry for entry in json.loads((folder / "metrics.json").read_text())}
    assert list(entries) == ["nlbp", "nlbp_gentle", "none", "naive", "majority"]
    assert all(name in printed for name in entries)
    assert entries["nlbp"]["agreement"] > 0.95 > 0.9 > entries["none"]["agreement"]
    assert entries["nlbp"]["balanced_agreement"] > 0.9 and entries["majority"]["balanced_agreement"] == 0.5
    assert entries["nlbp"]["finite"] and entries["nlbp"]["largest_pixel"] <= 1
    with (folder / "reconstruction/labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 10
    mean = sum(float(row["mae"]) for row in rows if row["guidance"] == "nlbp") / 10
    assert mean == pytest.approx(entries["nlbp"]["mae"])
    files = {path.name for path in (folder / "reconstruction").iterdir()}
    assert {"agreement.png", "grid.png", "evaluate.yaml"} <= files and (run.folder / "report.html").exists()


@pytest.mark.slow
def test_one_stage_alone_starts_from_an_earlier_run(run, tmp_path):
    short = "stage.inverse.trainer={max_steps: 5, val_check_interval: 5}"
    succeed(
        "train.py", "experiment=digits", f"folder={tmp_path}/new", f"from_run={run.folder}", "stages=[inverse]", short
    )
    new = Run(tmp_path / "new")
    assert new.weights("task").read_bytes() == run.weights("task").read_bytes()
    assert new.weights("prior").read_bytes() == run.weights("prior").read_bytes()
    assert new.weights("inverse").read_bytes() != run.weights("inverse").read_bytes()


@pytest.mark.slow
def test_a_finished_run_is_not_overwritten(run):
    assert "holds a run already" in fail("train.py", "experiment=digits", f"folder={run.folder}")


@pytest.mark.slow
def test_weights_that_do_not_fit_are_named(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run/inverse/weights.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"inverse/weights\.safetensors doesn't fit"):
        Run(tmp_path / "run").surjection()


def test_misuse_is_answered_by_one_clear_message(tmp_path):
    assert "stage.task.batch_sise" in fail("train.py", "stage.task.batch_sise=3")
    assert "synthetic_faces" in fail("train.py", "data=faces")  # the options that there are
    assert "is not a run's folder" in fail("sample.py", f"run={tmp_path / 'missing'}")
    assert "is not a run's folder" in fail("evaluate.py", f"run={tmp_path / 'missing'}")
    assert not (tmp_path / "missing").exists()
    assert "this task needs an operator: run=<folder>" in fail("sample.py", "prior.run=faces")
    assert "unknown stages ['inverce']" in fail("train.py", "stages=[inverce]", f"folder={tmp_path}/a")


@pytest.mark.parametrize("stages", ["inverse", "[inverse]", "[inverse, task]", "[task, task]", "[prior, wrong]"])
def test_stages_that_cannot_be_run_in_their_order_are_refused(stages, tmp_path):
    with pytest.raises(InputError, match="stage"):
        train(configuration("train", f"stages={stages}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def options(script: str) -> list[tuple[str, str]]:
    """Every option of every group that a script's defaults name, as ``(script, override)``."""
    found = []
    for entry in OmegaConf.load(REPOSITORY / f"conf/{script}.yaml").defaults:
        group = next(iter(entry)) if OmegaConf.is_dict(entry) else ""
        for path in sorted((REPOSITORY / "conf" / group.partition("@")[0]).glob("*.yaml")) if group else ():
            if not group.startswith("override"):
                found.append((script, f"{group}={path.stem}"))
    return found


@pytest.mark.parametrize("script, override", [*options("train"), *options("sample"), *options("evaluate")])
def test_every_option_composes_without_gaps_and_passes_the_checks(script, override):
    needed = {"train": "folder=x", "sample": "run=x", "evaluate": "run=x"}[script]
    config = check_configuration(script, override, needed)
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


SMALL_FACES = [f"data.source.{option}" for option in ("train=4", "val=1", "test=1")]


@pytest.mark.parametrize("overrides", [SMALL_FACES, ["experiment=digits"]], ids=["default", "digits"])
def test_models_of_the_experiments_fit_their_data(overrides, tmp_path):
    config = configuration("train", "folder=x", *overrides)
    run = Run.create(tmp_path / "run", config)
    network, prior, judge = (run.build(model).eval() for model in ("surjection", "prior", "judge"))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    image = torch.rand(3, *run.source.image_shape) * 2 - 1
    with torch.no_grad():
        y = network(image)
        assert y.shape == judge(image).shape == (3, len(run.source.label_names))
        assert (network(network.pinv(y)) - y).abs().max() < 1e-4
        assert prior(image, torch.tensor([0, 500, 999])).mean.shape == image.shape


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["celeba_attr", "celebahq_attr", "celeba_prior", "celebahq_prior"])
def test_models_of_published_size_fit_their_data(experiment, tmp_path):
    run = Run.create(tmp_path / "run", configuration("train", "folder=x", f"experiment={experiment}"))
    image = torch.rand(1, *run.source.image_shape) * 2 - 1  # no data set is needed to build them
    with torch.no_grad():
        if "prior" in run.config.stages:
            assert run.build("prior")(image, torch.tensor([500])).mean.shape == image.shape
        else:
            assert run.build("surjection")(image).shape == run.build("judge").eval()(image).shape == (1, 40)


@pytest.mark.nightly
def test_the_recipe_of_a_thousand_classes_trains_on_class_folders(tmp_path):
    for i, name in enumerate(("train/cat", "train/dog", "val/cat", "val/dog")):
        (tmp_path / name).mkdir(parents=True)
        for number in range(4 if "train" in name else 2):
            noise = np.random.default_rng(10 * i + number).integers(0, 255, (300, 280, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / name / f"{number}.png")
    short = ["network.hidden=16", *(f"stage.{stage}.epochs=1" for stage in ("task", "inverse", "judge"))]
    short += [f"stage.{stage}.batch_size=2" for stage in ("task", "inverse", "judge")]
    folder = tmp_path / "run"
    succeed("train.py", "experiment=imagenet_classes", f"data.root={tmp_path}", f"folder={folder}", *short)
    run = Run(folder)
    assert run.source.label_names == ("cat", "dog") and "accuracy/cat" in run.all_metrics()["judge"]
    optimizer = run.config.stage.task.module.optimizer
    assert (optimizer._target_, optimizer.lr) == ("torch.optim.SGD", 0.2)


@pytest.mark.nightly
def test_the_published_recipe_trains_on_celeba(tmp_path):
    write_faces(tmp_path / "celeba", "celeba_kaggle", train=9, val=2, test=2)
    assert "CelebA needs a folder: data.root=<folder>" in fail(
        "train.py", "experiment=celeba_attr", f"folder={tmp_path}/run"
    )
    assert not (tmp_path / "run").exists()
    short = [option for stage in ("task", "inverse", "judge") for option in (
        f"stage.{stage}.epochs=1", f"stage.{stage}.batch_size=4"
    )]  # fmt: skip
    options = (f"data.root={tmp_path}/celeba", "data.cache=true", f"data.source.cache_folder={tmp_path}/cache")
    printed = succeed("train.py", "experiment=celeba_attr", f"folder={tmp_path}/run", *options, *short)
    assert "stage task: 2 steps of batch 4" in printed
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["task"]["right_inverse_error"] < 1e-3 and metrics["inverse"]["reconstruction"] < 2
    assert 0 <= metrics["task"]["accuracy/Young"] <= 1


def test_every_guidance_and_schedule_is_one_word_away():
    guidance = instantiate(configuration("sample", "guidance=nlbp_published", "run=x").guidance)
    assert [guidance.keywords["schedule"](t) for t in (999, 600, 599, 0)] == [0.5, 0.5, 1.0, 1.0]
    assert guidance.keywords["stop"] == 0.11 and not guidance.keywords["clip"]
    for group, default in (("guidance", "guidance=nlbp_gentle"), ("guidance/schedule", "guidance=nlbp")):
        for path in (REPOSITORY / "conf" / group).glob("*.yaml"):
            config = configuration("sample", default, f"{group}={path.stem}", "run=x")
            trained = {"classifier": torch.nn.Identity()} if path.stem == "classifier" else {}  # else it needs a run
            assert callable(instantiate(config.guidance, **trained))  # options of one choice don't linger in another
    replaced = configuration("sample", "guidance.schedule.levels=[[0, 0.7]]", "run=x").guidance
    assert instantiate(replaced).keywords["schedule"](900) == 0.7


def test_no_logger_is_a_choice_and_other_groups_need_one():
    folders = [REPOSITORY / "conf"]
    for word in ("logger=null", "logger=[]", "~logger"):
        assert _without_nulls([word, "seed=1"], folders) == ["logger=none", "seed=1"]
    kept = ["stage.task.epochs=null", "callbacks.pictures=null", "-m", "prior=unet_32"]
    assert _without_nulls(["experiment=null", *kept, "debug=null"], folders) == kept
    said = fail("train.py", "callbacks=null")
    assert "callbacks=null: this group needs a choice" in said and "callbacks.pictures=null" in said
    assert "stage@stage.task=null: this group needs a choice" in fail("train.py", "stage@stage.task=null")


@pytest.mark.slow
def test_a_run_without_a_logger_has_its_metrics(tmp_path):
    words = ("experiment=digits", "stages=[task]", "stage.task.trainer={max_steps: 2, val_check_interval: 2}")
    succeed("train.py", *words, "callbacks.pictures=null", "logger=null", f"folder={tmp_path}/run")
    assert "task" in json.loads((tmp_path / "run/metrics.json").read_text())
    assert not (tmp_path / "run/task/metrics.csv").exists()


def stub_run(folder, *overrides: str) -> Run:
    """A run whose stages are weights of ones, without training."""
    run = Run.create(folder, configuration("train", "experiment=digits", "folder=x", *overrides))
    for stage in ("task", "inverse", "prior"):
        run.weights(stage).parent.mkdir()
        run.save_weights(stage, torch.nn.Linear(1, 1))
    return run


def test_a_new_first_phase_leaves_the_old_second_one_behind(tmp_path):
    old = stub_run(tmp_path / "old")
    new = Run.create(tmp_path / "new", old.config)
    new.take_weights_from(old, but=["task"])
    assert [stage for stage in ("task", "inverse", "prior") if new.weights(stage).exists()] == ["prior"]


@pytest.mark.parametrize("prior", ["trained", "gaussian_mixture"])
def test_a_prior_without_weights_to_train_is_refused(prior, tmp_path):
    with pytest.raises(InputError, match="has nothing to train"):
        train(configuration("train", "experiment=digits", f"prior={prior}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_may_name_a_prior_that_needs_no_training(tmp_path):
    config = configuration("train", "experiment=digits", "prior=gaussian_mixture", "prior.components=3", "folder=x")
    prior = Run.create(tmp_path / "run", config).prior()
    assert isinstance(prior, GaussianMixturePrior) and prior.image_shape == (1, 8, 8)


def test_weights_are_not_taken_into_another_architecture(tmp_path):
    old = stub_run(tmp_path / "old", "network.scale_bound=2")
    new = Run.create(tmp_path / "new", configuration("train", "experiment=digits", "folder=x"))
    with pytest.raises(InputError, match=r"surjection of .*old was trained with other options: network"):
        new.take_weights_from(old)


def test_a_prior_goes_on_beside_other_labels_of_the_same_images(tmp_path):
    old = stub_run(tmp_path / "old")
    new = Run.create(
        tmp_path / "new", configuration("train", "experiment=digits", "data.source.labels=mixed", "folder=x")
    )
    new.take_weights_from(old, but=["task", "judge"])
    assert [stage for stage in ("task", "inverse", "prior") if new.weights(stage).exists()] == ["prior"]
    with pytest.raises(InputError, match=r"surjection of .*old was trained with other options: data.source"):
        new.take_weights_from(old)
    other = Run.create(
        tmp_path / "other", configuration("train", "experiment=digits", "data.source.seed=1", "folder=x")
    )
    with pytest.raises(InputError, match=r"prior of .*old was trained with other options: data.source"):
        other.take_weights_from(old, but=["task", "judge"])


def test_results_keep_earlier_ones_and_spare_other_folders(tmp_path):
    folder = check_results_folder(tmp_path / "results", marker="sample.yaml")
    for i in range(3):
        fresh_folder(folder)
        (folder / "sample.yaml").write_text(str(i))
        check_results_folder(folder, marker="sample.yaml")
    assert {(path / "sample.yaml").read_text() for path in tmp_path.iterdir()} == {"0", "1", "2"}
    assert (folder / "sample.yaml").read_text() == "2"
    with pytest.raises(InputError, match="is not empty and holds no earlier results"):
        check_results_folder(tmp_path, marker="sample.yaml")
