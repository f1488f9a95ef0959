"""What is wrong with a command line or an experiment's file is said before anything is built or written."""

import re

import pytest
import torch
from commands import PAGES, check_configuration, commands_of, fail
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from lightning.pytorch.callbacks import Callback

from spnn.errors import InputError, nearest_path
from spnn.signatures import kinds, parameters


def documented_commands() -> list[tuple[str, ...]]:
    """The commands in README and docs, as ``(script, *overrides)``; of a sweep, its first job."""
    found = []
    for words in (words for page in PAGES for words in commands_of(page)):
        script = re.fullmatch(r"(?:python|spnn) (train|sample|evaluate)(?:\.py)?", " ".join(words[:2]))
        own = any(word.startswith("--config-dir") or word == "experiment=mine" for word in words)
        if script and not own:  # other tests run those
            found.append((script[1], *map(first_job, [word for word in words[2:] if word[0] != "-"])))
    return list(dict.fromkeys(found))


def first_job(word: str) -> str:
    override = OverridesParser.create().parse_overrides([word])[0]
    if isinstance(override.value(), IntervalSweep):
        return f"{override.get_key_element()}={override.value().start}"
    return (
        f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
        if override.is_sweep_override()
        else word
    )


@pytest.mark.parametrize("words", documented_commands(), ids=" ".join)
def test_documented_commands_pass(words):
    check_configuration(*words)


def test_what_an_experiment_sets_for_another_choice_is_said_to_be_its():
    with pytest.raises(InputError, match=r"takes no `widths`\. It is set by experiment=cifar10 .* by '~judge\.widths'"):
        check_configuration("train", "experiment=cifar10", "judge=resnet18")
    check_configuration("train", "experiment=cifar10", "judge=resnet18", "~judge.widths")
    with pytest.raises(InputError, match=r"takes no `widths`\.$"):
        check_configuration("train", "experiment=cifar10", "judge=resnet18", "+judge.widths=[8]")


@pytest.mark.parametrize(
    "words, meant",
    [
        (["stage.task.batch_sise=3"], "stage.task.batch_size"),
        (["netwrk.mixing=x"], "network.mixing"),
        (["network=faces32"], "faces_32"),
        (["datta=digits"], "data"),
        (["experimnt=digits"], "experiment"),
        (["stage.task={batch_sise: 3}"], "stage.task.batch_size"),
        (["-m", "seed=0,1", "network=digits,faces_32", "snr_rage=1"], "stage.prior.module.snr_range"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_what_hydra_cannot_compose_gets_the_nearest_full_name(words, meant):
    (line,) = [line for line in fail("train.py", *words).splitlines() if line.startswith("No option")]
    assert line.endswith(f" (did you mean {meant}?).")


def test_an_option_of_another_choice_is_answered_with_those_there_are():
    said = fail("sample.py", "guidance=gradient", "guidance.exact=true")
    assert "No option 'guidance.exact' with what was chosen. guidance has bound, clip, iterations, rate, " in said


@pytest.mark.parametrize(
    "script, word, where",
    [
        ("train", "count=5", "`python sample.py`"),
        ("sample", "experiment=digits", "`python train.py`"),
        ("sample", "edit.quantile=0.9", "task=edit"),
        ("evaluate", "stages=[task]", "`python train.py`"),
    ],
)
def test_an_option_that_belongs_elsewhere_is_answered_with_its_place(script, word, where):
    key = word.partition("=")[0]
    assert fail(f"{script}.py", word).strip() == f"No option {key!r} here: it belongs to {where}."


def test_names_and_paths_have_letters_of_any_alphabet():
    assert "there is no image or folder Fötos" in fail("sample.py", "images=Fötos")
    assert "there is no attribute 'Größe'" in fail("sample.py", "task=edit", "edit.set={Größe: 3}")
    assert "names with such letters a list" in fail("sample.py", "task=sweep", "sweep.set={Größe: [1,2]}")


def test_a_mistake_is_answered_by_its_message_alone():
    said = fail("sample.py", "run=/nowhere")
    assert said.startswith("/nowhere is not a run's folder") and "HYDRA_FULL_ERROR" not in said


@pytest.mark.parametrize(
    "script, words, message",
    [
        ("train", "stage.task.batch_size=a", 'task.batch_size must be a whole number (the default is 128), got "a"'),
        ("train", "stage.task.epochs=a", 'stage.task.epochs must be a whole number (the default is null), got "a"'),
        ("train", "seed=1.5", "seed must be a whole number (the default is 0), got 1.5"),
        ("train", "seed=true", "seed must be a whole number"),
        ("train", "data.flip=3", "data.flip must be true or false (the default is true), got 3"),
        ("train", "name=[a]", "name must be text"),
        ("train", "stages=task", "stages must be a list"),
        ("train", "compile=3", "compile must be text or true or false"),
        ("train", "stage.task.trainer=3", "stage.task.trainer must be a mapping"),
        ("train", "network.scale_bound=abc", "network.scale_bound must be a number (the default is 1.0)"),
        ("train", "network.plan=3", "network.plan must be a list"),
        ("train", "prior.layers_per_block=1.5", "prior.layers_per_block must be a whole number"),
        ("train", "stage.task.module.optimizer.lr=fast", "stage.task.module.optimizer.lr must be a number"),
        ("train", "callbacks.last.every_n_train_steps=0.5", "every_n_train_steps must be a whole number"),
        ("train", "+stage.task.trainer.max_stps=3", "lightning.Trainer takes no `max_stps` (did you mean max_steps"),
        ("train", "+stage.task.trainer.min_steps=x", "stage.task.trainer.min_steps must be a whole number, got"),
        ("train", "+stage.prior.module.snr_rang=1", "PriorStage takes no `snr_rang` (did you mean snr_range?)"),
        ("train", "+network.scale_bond=2", "spnn.SPNN takes no `scale_bond` (did you mean scale_bound?)"),
        ("train", "+prior.norm_epsilon=1", "spnn.diffusion.UNetPrior takes no `norm_epsilon`"),
        ("train", "judge._target_=spnn.evaluation.judge.Jugde", "judge._target_=spnn.evaluation.judge.Jugde can't be"),
        ("train", "judge._target_=spnn.evaluation.judge", "judge._target_=spnn.evaluation.judge can't be"),
        ("train", "callbacks.pictures.guidance.stop=x", "callbacks.pictures.guidance.stop must be a number"),
        ("sample", "sampler.steps=many", 'sampler.steps must be a whole number (the default is 50), got "many"'),
        ("sample", "+guidance.rulle=nlbp", "BackProjection takes no `rulle` (did you mean rule?)"),
        ("evaluate", "methods.nlbp.stop=soon", "methods.nlbp.stop must be a number"),
        ("evaluate", "+study.trajectry=3", "Reconstruction takes no `trajectry` (did you mean trajectory?)"),
    ],
)  # fmt: skip
def test_wrong_types_and_unknown_arguments_are_named(script, words, message):
    with pytest.raises(InputError, match=re.escape(message)):
        check_configuration(script, words)


@pytest.mark.parametrize(
    "words",
    [
        ["stage.task.module.reconstruction_weight=0.5"],  # a number, of which the default happens to be whole
        ["stage.task.trainer.val_check_interval=null", "callbacks.last=null", "stage.judge=null", "~logger"],
        ["compile=inductor", "trainer.devices=2", "trainer.strategy=ddp", "trainer.precision=32"],
        ["trainer.devices=[0,1]", "data.num_workers=${cores:4}", "+mine.own=1"],
        ["logger=[csv,wandb]", "logger.wandb.tags=[mine]"],
        ["+network.hidden=64", "+stage.task.trainer.limit_val_batches=0.5"],
        ["data.augment={_target_: torchvision.transforms.v2.RandomRotation, degrees: 3}"],
    ],
    ids=" ".join,
)
def test_what_is_allowed_passes(words):
    check_configuration("train", *words)


@pytest.mark.parametrize("script", ["sample", "evaluate"])
def test_a_command_without_a_logger_takes_several(script):
    words = ("run=digits", "logger=[csv,trackio,mlflow]", "+logger.mlflow.tags.by=me")
    loggers = check_configuration(script, *words).logger
    assert set(loggers) == {"csv", "trackio", "mlflow"}
    with pytest.raises(InputError, match=r"did you mean project\?"):
        check_configuration(script, "run=digits", "logger=[csv,trackio]", "+logger.trackio.projct=mine")


EXPERIMENT = """
# @package _global_
defaults:
  - /stage@stage.second: task
  - /guidance@guided: nlbp
  - override /data: digits
  - override /logger: null
name: mine
stage:
  task: {batch_size: 16, module: {optimizer: {lr: 1}}}
  second: {batch_size: 8}
guided: {stop: null}
callbacks:
  gently: {_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/loss}
"""


def test_an_experiments_file_may_set_choose_and_add(tmp_path):
    write_experiment(tmp_path, EXPERIMENT)
    assert check_configuration("train", "experiment=mine", folder=tmp_path).stage.second.batch_size == 8


@pytest.mark.parametrize(
    "right, wrong, message",
    [
        ("batch_size: 16", "batch_sise: 16", "No option 'stage.task.batch_sise' (did you mean stage.task.batch_size?)"),
        ("lr: 1", "lr: 1, bettas: [0, 0]", "No option 'stage.task.module.optimizer.bettas'"),
        ("name: mine", "nam: mine", "No option 'nam' (did you mean name?)"),
        ("batch_size: 8", "batch_size: [8]", "stage.second.batch_size must be a whole number (the default is 128)"),
        ("stop: null", "stop: soon", "guided.stop must be a number (the default is 0.03)"),
        ("monitor:", "montor:", "No option 'callbacks.gently.montor'"),
        ("gently: {_target_: lightning.pytorch.callbacks.EarlyStopping", "bst: {mode: min", "mean callbacks.best?"),
    ],
)  # fmt: skip
def test_a_typo_in_an_experiments_file_is_named(right, wrong, message, tmp_path):
    write_experiment(tmp_path, EXPERIMENT.replace(right, wrong))
    with pytest.raises(InputError, match=re.escape(message)):
        check_configuration("train", "experiment=mine", folder=tmp_path)


def write_experiment(folder, text: str) -> None:
    (folder / "experiment").mkdir()
    (folder / "experiment/mine.yaml").write_text(text)


def test_commands_check_before_they_write(tmp_path):
    assert "takes no `snr_rang`" in fail("train.py", f"folder={tmp_path}/run", "+stage.prior.module.snr_rang=1")
    assert "first must be a whole number" in fail("sample.py", f"run={tmp_path}/none", "first=x")
    assert "count must be a whole number" in fail("evaluate.py", f"run={tmp_path}/none", "count=x")
    write_experiment(tmp_path, "# @package _global_\nstage: {task: {batch_sise: 3}}")
    printed = fail("train.py", f"folder={tmp_path}/run", "experiment=mine", "--config-dir", str(tmp_path))
    assert "No option 'stage.task.batch_sise' (did you mean stage.task.batch_size?)" in printed
    assert not (tmp_path / "run").exists()


def test_kinds_of_annotations():
    assert kinds(float | None) == {"a number"}
    assert kinds(float | torch.Tensor) == {"a number", "a mapping"}
    assert kinds(list[int] | str) == {"a list", "text"}
    assert kinds(object) == set() == kinds(Callback | object)


def test_options_that_a_class_hands_to_its_base_or_to_others_are_known():
    from spnn import SPNN
    from spnn.training import JudgeStage

    taken, more = parameters(JudgeStage)
    assert {"noise", "optimizer", "scheduler"} <= taken.keys() and not more
    assert "mixing" in parameters(SPNN)[0]
    assert parameters(lambda a, **others: None)[1]


def test_nearest_paths_are_found_part_by_part():
    paths = ["a.batch_size", "a", "b", "b.batch_size", "b.learning_rate"]
    assert nearest_path("b.batch_sise", paths) == " (did you mean b.batch_size?)"
    assert nearest_path("learning_rat", paths) == " (did you mean b.learning_rate?)"
    assert nearest_path("colour", paths) == ""


@pytest.mark.parametrize(
    "word, said",
    [
        ("edit.set.Smiling=no", "write 'edit.set={Smiling: no}'"),
        ("edit.set={Smiling", "'edit.set={Smiling' can't be read ("),
        ("trainer=cluster", "No option 'cluster'; choose from default, sampling."),
        ("seed.first=3", "No option 'seed.first' with what was chosen."),
    ],
)
def test_what_hydra_cannot_read_is_answered_in_one_line(word, said):
    printed = fail("sample.py", "task=edit", word)
    assert said in printed and len(printed.strip().splitlines()) == 1


def test_a_multirun_goes_below_one_folder(tmp_path):
    assert "folder=a,b: each job of a multirun" in fail("train.py", "-m", "folder=a,b", "seed=1,2")
    fail("train.py", "-m", f"folder={tmp_path}/sweep", "seed=1,2", "stages=[nothing]")
    assert {path.parent.name for path in tmp_path.glob("sweep/*/job.json")} == {
        "seed-1__stages-_nothing", "seed-2__stages-_nothing"
    }  # fmt: skip


def test_a_path_is_taken_literally(tmp_path):
    folder = tmp_path / "seed=1,it's (2)"
    folder.mkdir()
    assert f"{folder} is not a run's folder" in fail("sample.py", f"run={folder}")
    assert "a=b is not a run's folder" in fail("sample.py", "run=a=b")


@pytest.mark.parametrize("seed", ["-1", "4294967296", "null", "1.5"])
def test_seeds_that_cannot_be_are_refused_before_a_folder_is_made(seed, tmp_path):
    assert "seed must be a whole number" in fail("train.py", f"folder={tmp_path}/run", f"seed={seed}")
    assert not (tmp_path / "run").exists()


def test_an_option_that_a_sweep_chooses_and_the_default_lacks_is_said_to_be_added():
    said = fail("sample.py", "-m", "run=x", "guidance=nlbp_noisy,daps", "guidance.noise=0.2")
    assert "The default 'guidance' has no option 'guidance.noise'" in said and "write ++guidance.noise=0.2" in said
