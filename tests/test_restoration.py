"""study=restoration: guidances on known degradations, with equal effort."""

import json
from functools import partial, wraps
from types import SimpleNamespace

import pytest
import torch
from commands import configuration

from spnn.diffusion import (
    ConstantStrength,
    Denoised,
    GradientGuidance,
    NoiseSchedule,
    PosteriorGuidance,
    PseudoinverseGuidance,
    Sampler,
)
from spnn.errors import InputError
from spnn.evaluation import evaluate
from spnn.evaluation.effort import effort
from spnn.operators import AveragePool
from spnn.readout import VALUES

SMALL = ("count=4", "problems.super_resolution.factor=2", "study.budgets=[12]", "report=null")


def restored(folder, run, *words: str) -> list[dict]:
    """Entries of a small study of a run."""
    common = (f"run={run.folder}", f"folder={folder}", "trainer.precision=32-true", "study=restoration")
    return evaluate(configuration("evaluate", *common, *SMALL, *words))


@pytest.mark.slow
def test_all_methods_restore_linear_and_other_degradations(run, tmp_path):
    only = "study.only=[super_resolution,high_dynamic_range,phase_retrieval]"
    entries = restored(
        tmp_path, run, only, "study.methods=[ddnm,dps,daps,none]", "study.budgets=[6,12]", "methods.ddnm.clip=false"
    )
    table = {(entry["problem"], entry["guidance"], entry["budget"]): entry for entry in entries}
    assert len(table) == 3 * 4 * 2
    for (problem, name, budget), entry in table.items():
        assert entry["evaluations"] == entry["steps"] == budget
        assert entry["gradients"] == budget * (name == "dps") and (entry["kept_mib"] > 0) is (name == "dps")
        assert (entry["rms"] < 1e-3) is (name == "ddnm" and problem != "phase_retrieval")
        low, high = entry["psnr_interval"]
        assert low <= entry["psnr"] <= high
    for problem in ("super_resolution", "high_dynamic_range", "phase_retrieval"):
        assert table[problem, "ddnm", 12]["psnr"] > table[problem, "none", 12]["psnr"] + 1
    folder = tmp_path / "restoration"
    written = {path.name for path in folder.iterdir()}
    assert {"table_super_resolution.md", "table_super_resolution_6.md", "equal_time_phase_retrieval.md"} <= written
    assert {"grid_high_dynamic_range.png", "pareto_phase_retrieval.png"} <= written
    said = json.loads((folder / "findings.json").read_text())["verdicts"]
    assert len(said) == 3 and "Super resolution: nearest to the true image is" in said[0]


def test_methods_are_told_the_noise_and_the_best_of_several_samples_counts(run, tmp_path, monkeypatch):
    told = []

    made = PseudoinverseGuidance.__init__

    @wraps(made)
    def recorded(*arguments, noise=0.0, **options):
        told.append(noise)
        made(*arguments, noise=noise, **options)

    monkeypatch.setattr(PseudoinverseGuidance, "__init__", recorded)
    words = ("study.only=[inpainting]", "study.methods=[pigdm,none]", "study.noise=0.3")
    clean, unguided = restored(tmp_path / "a", run, *words)
    assert set(told) == {0.3} and clean["rms"] < unguided["rms"]
    first, *_ = restored(
        tmp_path / "d", run, "study.only=[inpainting]", "study.methods=[nlbp_noisy]", "study.noise=0.3"
    )
    assert first["guidance"] == "nlbp_noisy" and first["rms"] < unguided["rms"]
    other = restored(tmp_path / "c", run, *words, "study.options={inpainting: {pigdm: {deviation: 0.1}}}")[0]
    assert other["rms"] != clean["rms"]
    _, several = restored(tmp_path / "b", run, *words, "study.copies=3")
    assert several["rms"] < unguided["rms"]
    assert len(list((tmp_path / "b/restoration/inpainting_none_12").glob("*.png"))) == 12


OTHERS = ("inpainting", "deblurring", "colorization", "nonlinear_blur", "high_dynamic_range", "jpeg", "phase_retrieval")


def test_what_can_not_be_restored_is_refused(run, tmp_path):
    for message, *words in (
        (r"study.only names \['inpaint'\]; `problems` has inpainting", "study.only=[inpaint]"),
        (
            "problems.super_resolution: .*3",
            "problems.super_resolution.factor=3",
            "study.only=[super_resolution,inpainting]",
        ),
        (
            "none of the config's problems fits",
            "problems.super_resolution.factor=3",
            *(f"problems.{name}=null" for name in OTHERS),
        ),
        ("study.noise is the deviation of noise", "study.noise=-1"),
        ("study.copies must be a whole number", "study.copies=0"),
        ("`problems` names no operator", "problems=null"),
        ("problems.inpainting is no known degradation", "operator@problems.inpainting=trained"),
        ("draws from noise: leave sampler.start=null", "sampler.start=300"),
        (
            "study.options.jpeg.dps: no option 'rat' .did you mean rate",
            "study.options={jpeg: {dps: {rat: 1}}}",
            "study.only=[jpeg]",
        ),
        (
            "study.options.jpeg.dps: no option 'rat'",
            "study.options={jpeg: {dps: {rat: 1}}}",
            "study.only=[inpainting]",
            "study.methods=[none]",
        ),
        (r"study.samplers names \['resampel'\]", "study.samplers={resampel: {eta: 0}}"),
        ("study.options: there is no method 'dpss'", "study.options={jpeg: {dpss: {rate: 1}}}"),
        ("study.options: there is no problem 'jpg'", "study.options={jpg: {}}"),
        ("nlbp_noisy is for measurements with noise: set study.noise", "study.methods=[nlbp_noisy]"),
        (r"study.methods names \['ddmn'\]", "study.methods=[ddmn]"),
    ):
        with pytest.raises(InputError, match=message):
            restored(tmp_path, run, *words)
        assert not (tmp_path / "restoration").exists()


def test_problems_that_do_not_fit_the_images_are_left_out(run, tmp_path, caplog):
    entries = restored(tmp_path, run, "study.methods=[none]", "study.budgets=[2]", "problems.super_resolution.factor=3")
    assert "super_resolution is left out: " in caplog.text
    assert {"inpainting", "jpeg"} <= {entry["problem"] for entry in entries}
    assert "super_resolution" not in {entry["problem"] for entry in entries}


class Squares(torch.nn.Module):
    """A prior that keeps an image, its cosine and weights for a gradient."""

    image_shape, schedule = (3, 8, 8), NoiseSchedule()

    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.ones(3, 8, 8), requires_grad=False)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> Denoised:
        return Denoised(self.weights * x.square(), x.cos())  # which keep x once, and the weights


def test_memory_for_gradients_is_counted():
    models = SimpleNamespace(prior=Squares(), operator=AveragePool(2, (3, 8, 8)), readout=VALUES)
    sampler, y = Sampler(Squares.schedule, 3), torch.zeros(1, 3, 4, 4)
    found = effort(models, sampler, partial(PosteriorGuidance, schedule=ConstantStrength()), y)
    assert (found.evaluations, found.gradients, found.kept_mib) == (3, 3, 3 * 8 * 8 * 4 / 2**20)
    assert effort(models, sampler, partial(GradientGuidance, schedule=ConstantStrength()), y).kept_mib == 0
