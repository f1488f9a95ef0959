"""A session in memory does what the commands do, to the same images and figures."""

import logging
from functools import partial

import pytest
import torch
from commands import configuration

from spnn import Session
from spnn.composing import composed
from spnn.diffusion import BackProjection, ConstantStrength, GaussianMixturePrior
from spnn.errors import InputError
from spnn.evaluation import evaluate
from spnn.operators import AveragePool
from spnn.sampling import sample

pytestmark = pytest.mark.slow
PRECISE = {"trainer.precision": "32-true"}


@pytest.fixture(scope="module")
def session(run) -> Session:
    return Session.load(run.folder)


def commanded(folder, run, *words: str) -> dict:
    """What `sample.py` writes."""
    from safetensors.torch import load_file

    metrics = sample(configuration("sample", f"run={run.folder}", "trainer.precision=32-true", *words), folder)
    return {**load_file(folder / "samples.safetensors"), "metrics": metrics}


def test_edits_are_those_of_the_command(session, run, tmp_path):
    images, y = session.held_out(3)
    assert torch.equal(y, session.outputs(images)) and y.shape == (3, 10)
    options = {"steps": 10, "seed": 4, "per_target": 2, "values": PRECISE}
    noise = [session.edit(images, {"digit_3": 2.0}, steps=3, start="noise"), *(
        session.edit(images, {"digit_3": 2.0}, steps=3, values={"sampler.start": start}) for start in (None, 450)
    )]  # fmt: skip
    assert torch.equal(noise[0].images, noise[1].images) and not torch.equal(noise[0].images, noise[2].images)
    edited = session.edit(images, {"digit_3": True, "digit_7": "2%"}, others=0.5, quantile=0.9, **options)
    words = (
        "task=edit",
        "edit.set={digit_3: yes, digit_7: 2%}",
        "edit.others=0.5",
        "sampler.steps=10",
        "seed=4",
        "edit.quantile=0.9",
    )
    expected = commanded(tmp_path / "s", run, *words, "n_per_target=2", "count=3")
    torch.testing.assert_close(edited.images, expected["image"], rtol=0, atol=1e-5)
    torch.testing.assert_close(edited.outputs, expected["y"], rtol=0, atol=1e-4)
    assert edited.metrics == pytest.approx({name: expected["metrics"][name] for name in edited.metrics}, abs=1e-4)
    assert edited.problem.edited.nonzero().flatten().tolist() == [3, 7]
    assert edited._repr_png_().startswith(b"\x89PNG")
    assert repr(edited).startswith("Drawn(6 images of (1, 8, 8): finite=1, ")
    assert repr(session).startswith(f"Session(of {run.folder}: prior UNetPrior, operator SPNN, judge ")


@pytest.mark.parametrize("task, word", [("reconstruct", "naive"), ("unconditional", None)])
def test_other_tasks_are_those_of_the_command(session, run, tmp_path, task, word):
    options = {"steps": 6, "guidance": word, "values": PRECISE}
    if task == "reconstruct":
        drawn = session.reconstruct(session.held_out(2)[0], **options)
    else:
        drawn = session.unconditional(2, **options)
    words = [f"task={task}", "count=2", "sampler.steps=6", *([f"guidance={word}"] if word else [])]
    torch.testing.assert_close(drawn.images, commanded(tmp_path / "s", run, *words)["image"], rtol=0, atol=1e-5)


@pytest.mark.nightly
def test_a_study_finds_what_the_command_finds(session, run, tmp_path):
    found = session.evaluate(count=4, values={"sampler.steps": 5, "study.diversity_targets": 0, **PRECISE})
    folders = (f"folder={tmp_path / 'e'}", f"report={tmp_path / 'r.html'}")
    words = ("count=4", "sampler.steps=5", "study.diversity_targets=0", "trainer.precision=32-true")
    expected = evaluate(configuration("evaluate", f"run={run.folder}", *words, *folders))
    assert [entry["guidance"] for entry in found.entries] == [entry["guidance"] for entry in expected]
    assert found["judge_agreement"] == pytest.approx(expected[0]["judge_agreement"])
    with pytest.raises(InputError, match="there is no figure 'judge_agrement'"):
        found["judge_agrement"]


def test_generated_digits_show_what_was_set(session):
    drawn = session.generate({"digit_0": "yes"}, count=8, seed=1)
    assert drawn.metrics["judge_edit_success"] > 0.5
    assert (session.outputs(drawn.images)[:, 0] > 0).float().mean() > 0.8


def test_models_of_ones_own_solve_an_inverse_problem():
    prior = GaussianMixturePrior.isotropic(torch.zeros(1, 1, 8, 8), deviation=0.5)
    session = Session(prior, AveragePool(2, (1, 8, 8)))
    guidance = partial(BackProjection, schedule=ConstantStrength())
    y = 0.3 * torch.randn(2, 1, 4, 4)
    solved = session.solve(y, steps=20, guidance=guidance, values=PRECISE)
    torch.testing.assert_close(solved.outputs, y, rtol=0, atol=1e-4)
    again = session.solve(y[1:], steps=20, seed=1, guidance=guidance, values={"sampler.eta": None, **PRECISE})
    torch.testing.assert_close(again.images, solved.images[1:], rtol=0, atol=1e-5)
    assert session.unconditional(2, steps=5).outputs.shape == (2, 1, 4, 4)
    with pytest.raises(InputError, match=r"expected outputs of shape \[N, 1, 4, 4\], got \[2, 1, 8, 8\]"):
        session.solve(torch.zeros(2, 1, 8, 8))
    with pytest.raises(InputError, match="held-out images come from a run"):
        session.held_out(2)
    with pytest.raises(InputError, match="needs run=<folder>"):
        session.evaluate(count=2)
    with pytest.raises(InputError, match="this task needs an operator"):
        Session(prior).solve(y)


def test_a_session_trains_without_a_folder():
    short = "{max_steps: 2, val_check_interval: 2}"
    words = [
        "experiment=digits",
        "callbacks.pictures=null",
        f"stage.task.trainer={short}",
        f"stage.prior.trainer={short}",
    ]
    with pytest.raises(InputError, match=r"trains none: add prior"):
        Session.train(*words, stages=["task"])
    trained = Session.train(*words, seed=3, stages=["task", "prior"])
    folder = trained.models.run.folder
    assert trained.models.run.config.seed == 3 and folder.exists()
    _, y = trained.held_out(2)
    assert y.shape == (2, 10)
    trained.close()
    assert not folder.exists()
    with pytest.raises(InputError, match="the session is closed"):
        trained.unconditional(2)


def test_ones_own_configs_come_first_as_in_the_commands(tmp_path, monkeypatch):
    (tmp_path / "conf/guidance").mkdir(parents=True)
    (tmp_path / "conf/guidance/naive.yaml").write_text("# Mine.\nmine: 3\n")
    monkeypatch.chdir(tmp_path)
    assert composed("sample", ["guidance=naive"]).guidance == {"mine": 3}
    assert composed("sample", ["guidance=gradient"]).guidance.rate > 0


def test_mistakes_are_named_and_nothing_of_the_process_is_changed(session, tmp_path):
    images, y = session.held_out(2)
    tf32, level = torch.backends.cudnn.allow_tf32, logging.getLogger("lightning.pytorch.utilities.rank_zero").level
    for wrong, message in (
        ({"guidance": "nlpb"}, r"no option 'nlpb' \(did you mean nlbp"),
        ({"guidance": 7}, "guidance is an option of conf/guidance"),
        ({"values": {"sampler.stepz": 3}}, r"no option 'sampler.stepz' \(did you mean sampler.steps"),
        ({"values": {"trainer.accelerator": "nonsense"}}, "lightning.Trainer: .*nonsense"),
        ({"values": {"trainer.devices": 2}}, "trainer.devices: a session has its run"),
        ({"choices": ["run=other"]}, "run: a session has its run"),
        ({"choices": "guidance=naive"}, "choices are a list"),
        ({"choices": ["sampler=[="]}, "can't compose"),
        ({"steps": 0}, "sampling steps must be 1 to 1000"),
        ({"steps": 2.5}, "sampler.steps must be a whole number"),
        ({"seed": "a"}, "seed must be a whole number"),
        ({"seed": 2**70}, "seed must be a whole number"),
        ({"per_target": 0}, "n_per_target must be a whole number"),
    ):
        with pytest.raises(InputError, match=message):
            session.reconstruct(images, **wrong)
    for bad in (images[0], images * 9, (images * 100).byte(), images[:0], images[..., :4], images.numpy(), images / 0):
        for use in (session.reconstruct, session.outputs):
            with pytest.raises(InputError, match=r"expected .*images"):
                use(bad)
    for bad in (y[:, :4], y.long(), y.numpy(), y / 0, y[:0]):
        with pytest.raises(InputError, match="expected outputs"):
            session.solve(bad)
    for bad, message in (
        ({"digit3": "yes"}, r"there is no attribute 'digit3' \(did you mean digit_3"),
        ("digit_3", "a dict"),
    ):
        with pytest.raises(InputError, match=message):
            session.edit(images, bad)
    for first, count in ((0, 0), (0, 2.5), (-1, 2), (0, "4"), (0, 10**6)):
        with pytest.raises(InputError, match=r"must be a whole number|the test split has images"):
            session.held_out(count, first)
    with pytest.raises(InputError, match="leave `guidance` out"):
        session.unconditional(2, guidance="nlbp")
    with pytest.raises(InputError, match="is a file"):
        (tmp_path / "file").touch()
        Session.train("experiment=digits", folder=tmp_path / "file")
    assert torch.backends.cudnn.allow_tf32 == tf32
    assert logging.getLogger("lightning.pytorch.utilities.rank_zero").level == level
    assert (
        session.edit(images, {"digit_3": torch.tensor(4.0), "digit_1": y.numpy()[0, 0]}, steps=10).images.shape
        == images.shape
    )


def test_models_that_do_not_fit_are_refused():
    prior = GaussianMixturePrior.isotropic(torch.zeros(1, 1, 8, 8), deviation=0.5)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    operator = AveragePool(4, (1, 8, 8))
    for arguments, message in (
        ({"prior": None}, "the prior must be a module"),
        ({"prior": prior, "operator": network}, r"a module with pinv\(y\)"),
        ({"prior": prior, "operator": AveragePool(2, (1, 4, 4))}, "fit each other"),
        ({"prior": prior, "operator": operator, "judge": network}, "the judge's outputs have the shape"),
        ({"prior": prior, "judge": network}, "give the operator, too"),
        ({"prior": prior, "operator": operator, "readout": "ab"}, "a list without repeats"),
        ({"prior": prior, "operator": operator, "readout": ["a", "a"]}, "without repeats"),
    ):
        with pytest.raises(InputError, match=message):
            Session(**arguments)
    with pytest.raises(InputError, match="needs an operator"):
        Session(prior).outputs(torch.zeros(1, 1, 8, 8))
