import math

import lightning as L
import pytest
import torch
from torch import nn

from spnn import SPNN
from spnn.data import AttributeData, Digits
from spnn.diffusion import NoiseSchedule, UNetPrior
from spnn.errors import InputError, NonFiniteLossError
from spnn.training import InverseStage, PriorStage, TaskStage
from spnn.training.learning_rate import warmup_constant_linear, warmup_cosine

BLOCK = {"st": "conv1 16, conv1", "r": "conv1 16, conv1"}


def net() -> SPNN:
    net = SPNN((1, 8, 8), [{"unshuffle": 8, "channels": 20, **BLOCK}, BLOCK], outputs=10)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    return net


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3)


def fit(stage: L.LightningModule, folder, steps: int = 3, **options) -> L.Trainer:
    trainer = L.Trainer(
        **options,
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(stage, datamodule=AttributeData(Digits(), batch_size=32, flip=False))
    return trainer


def test_task_losses_are_the_published_ones():
    network, image, attributes = net(), torch.randn(4, 1, 8, 8), torch.randint(2, (4, 10)).float()
    stage = TaskStage(network, reconstruction_weight=40.0, optimizer=adam)
    y, losses = stage.losses(image, image, attributes)
    probability = network(image).sigmoid()
    likelihood = torch.where(attributes > 0, probability, 1 - probability)
    assert losses["task"].item() == pytest.approx(-likelihood.log().sum(1).mean().item(), rel=1e-4)
    assert losses["reconstruction"].item() == pytest.approx((network.pinv(y) - image).square().mean().item(), rel=1e-4)
    assert losses["loss"].item() == pytest.approx(losses["task"].item() + 40 * losses["reconstruction"].item())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("fused", [False, True])
def test_gradients_are_clipped_in_every_precision(precision, fused, tmp_path):
    norms = []

    def sgd(parameters) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(parameters, lr=1e-3, fused=fused)
        optimizer.register_step_post_hook(
            lambda *_: norms.append(torch.cat([p.grad.flatten() for p in parameters]).norm().item())
        )
        return optimizer

    stage = TaskStage(net(), reconstruction_weight=40.0, optimizer=sgd)
    fit(stage, tmp_path, precision=precision, gradient_clip_val=0.5)
    assert norms == pytest.approx([0.5] * 3, rel=1e-2)


def test_natural_loss_is_the_distance_to_zero_in_the_completed_space():
    """Definition 4.2, evaluated literally by forward passes."""
    network, image = net(), torch.randn(4, 1, 8, 8)
    losses = InverseStage(network, natural_weight=0.1, reconstruction_weight=40.0, optimizer=adam).losses(image)
    latents = network.complete(network.pinv(network(image))).z
    zero = network.complete(torch.zeros(1, 1, 8, 8)).z
    squares = sum((a - b).square().sum() for a, b in zip(latents, zero, strict=True))
    count = sum(a.numel() for a in latents)
    assert losses["natural"].item() == pytest.approx((squares / count).item(), rel=1e-4)
    expected = 0.1 * losses["natural"] + 40 * losses["reconstruction"]
    assert losses["loss"].item() == pytest.approx(expected.item())


def test_inverse_stage_changes_the_pseudo_inverse_alone(tmp_path):
    network, image = net(), torch.randn(4, 1, 8, 8)
    y = network(image).detach()
    pinv = network.pinv(y).detach()
    fit(InverseStage(network, natural_weight=0.1, reconstruction_weight=40.0, optimizer=adam), tmp_path)
    assert torch.equal(network(image), y)
    assert not torch.allclose(network.pinv(y), pinv)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "velocity"])
def test_snr_weighting_weighs_the_clean_images_error_alike_for_all_predictions(prediction):
    prior = UNetPrior(
        (1, 8, 8),
        schedule=NoiseSchedule(),
        prediction=prediction,
        block_out_channels=[8],
        down_block_types=["DownBlock2D"],
        up_block_types=["UpBlock2D"],
        norm_num_groups=4,
    )
    stage = PriorStage(prior, snr_range=(0.01, 5.0), optimizer=adam)
    image, noise, t = torch.randn(3, 1, 8, 8), torch.randn(3, 1, 8, 8), torch.tensor([5, 300, 900])
    signal, sigma = prior.schedule.signal_and_noise(t, image)
    x = signal * image + sigma * noise
    clean = (x - sigma * prior(x, t)) / signal
    weight = ((signal / sigma) ** 2).clamp(0.01, 5)
    expected = (weight * (clean - image) ** 2).mean()
    assert stage.loss(image, noise, t).item() == pytest.approx(expected.item(), rel=1e-3)


def test_a_loss_that_is_not_a_number_stops_training(tmp_path):
    network = net()
    with torch.no_grad():
        network.parts[0].mixing.parameter.fill_(math.nan)
    with pytest.raises(NonFiniteLossError, match="the loss is nan at step 0"):
        fit(TaskStage(network, reconstruction_weight=40.0, optimizer=adam), tmp_path)


def test_published_schedule_warms_up_stays_and_falls_to_zero():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = warmup_constant_linear(optimizer, total_steps=1000, warmup_steps=200, constant=0.4)
    rates = []
    for _ in range(1000):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(1 / 200) and rates[99] == pytest.approx(0.5)
    assert rates[199:400] == [1.0] * 201
    assert rates[700] == pytest.approx(0.5) and rates[999] == pytest.approx(1 / 600)


@pytest.mark.parametrize("total", [1, 5, 100])
def test_cosine_schedule_rises_for_a_fifth_and_falls_to_zero(total):
    optimizer = adam([nn.Parameter(torch.zeros(1))])
    schedule = warmup_cosine(optimizer, total_steps=total, warmup=0.2)
    rates = []
    for _ in range(total + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert max(rates) == pytest.approx(1e-3) and rates.index(max(rates)) == max(0, total // 5 - 1)
    assert rates[-1] == pytest.approx(0, abs=1e-9) or total == 1


def test_a_layer_text_may_not_name_the_last_width():
    with pytest.raises(InputError, match="conv1 10"):
        SPNN((1, 8, 8), [{"unshuffle": 8, "channels": 10, "st": "conv1 10", "r": "conv1"}])
