"""Where a command computes, and in which precision."""

import logging
import warnings

import pytest
import torch
from commands import configuration
from omegaconf import OmegaConf

from spnn.entry import fast_precision
from spnn.errors import InputError
from spnn.sampling.generate import check_common
from spnn.settings import settings, working_device
from spnn.training import train


@pytest.mark.parametrize(
    "accelerator, devices, rank, expected",
    [
        ("cpu", 2, 1, "cpu"),
        ("auto", "auto", 0, "cuda:0"),
        ("gpu", 2, 1, "cuda:1"),
        ("auto", [3], 0, "cuda:3"),
        ("cuda", [2, 5], 1, "cuda:5"),
        ("gpu", "1,", 0, "cuda:1"),
        ("gpu", "2, 5", 1, "cuda:5"),
        ("gpu", "2", 1, "cuda:1"),
    ],
)
def test_networks_are_asked_where_the_trainer_works(accelerator, devices, rank, expected, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    with settings(OmegaConf.create({"accelerator": accelerator, "devices": devices})):
        assert working_device() == torch.device(expected)
    assert working_device() == torch.device("cuda", rank)


def test_a_cpu_beside_a_gpu_has_its_own_precision(monkeypatch):
    on_cpu = fast_precision()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert (fast_precision(), fast_precision("cpu")) == ("bf16-mixed", on_cpu)
    monkeypatch.setattr("spnn.entry.fast_precision", lambda accelerator: accelerator)
    assert configuration("sample", "trainer.accelerator=cpu").trainer.precision == on_cpu


@pytest.mark.parametrize("newer", [False, True])
def test_nothing_is_rounded_to_tf32_and_all_is_as_before_at_the_end(newer, monkeypatch):
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    monkeypatch.setattr(logger, "level", logging.INFO)
    if newer:
        part, name, before = torch.backends.cudnn.conv, "fp32_precision", "tf32"
        part.fp32_precision = before
        monkeypatch.setattr(torch, "get_float32_matmul_precision", _mixed)
    else:
        part, name, before = torch.backends.cudnn, "allow_tf32", True
        torch.backends.cudnn.allow_tf32 = before
        torch.set_float32_matmul_precision("high")
    with settings(), warnings.catch_warnings(record=True) as heard:
        warnings.warn("your dataloader is not resumable", stacklevel=1)
        assert logger.level == logging.WARNING
        assert getattr(part, name) == ("ieee" if newer else False)
        assert newer or torch.get_float32_matmul_precision() == "highest"
    assert not heard and logger.level == logging.INFO
    assert getattr(part, name) == before
    assert newer or torch.get_float32_matmul_precision() == "high"


def _mixed():
    raise RuntimeError("you have used mix of the legacy and new APIs to set the TF32 status")


@pytest.mark.parametrize("option", ["trainer.precision=16-mixed", "+stage.prior.trainer.precision=bf16-true"])
def test_precisions_that_training_can_not_do_are_refused(option, tmp_path):
    with pytest.raises(
        InputError, match=r"trainer.precision=.* isn't supported in training: choose 32-true or bf16-mixed"
    ):
        train(configuration("train", "experiment=digits", option), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sampling_takes_lightnings_short_names_of_precisions_and_no_inference_mode():
    for precision in ("32", "bf16", "16", "bf16-mixed"):
        check_common(configuration("sample", f"trainer.precision={precision}"))
    with pytest.raises(InputError, match=r"trainer\.precision=bf16-true would convert"):
        check_common(configuration("sample", "trainer.precision=bf16-true"))
    with pytest.raises(InputError, match=r"trainer\.inference_mode=true allows no gradients"):
        check_common(configuration("sample", "trainer.inference_mode=true"))
