import math
import os
from functools import partial
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from commands import configuration
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

from spnn import SPNN
from spnn.data import Digits, ImageData
from spnn.data.order import ShuffledBatches
from spnn.diffusion import NoiseSchedule, Sampler, UNetPrior
from spnn.diffusion.guidance import unguided
from spnn.errors import InputError, NonFiniteLossError
from spnn.runs import Run
from spnn.training import AdaptiveWeights, Adversary, InverseStage, PriorStage, TaskStage, train
from spnn.training.checkpoints import AtomicCheckpoints, LastCheckpoint, steps_in
from spnn.training.learning_rate import warmup_constant_linear, warmup_cosine
from spnn.training.pictures import Pictures
from spnn.training.run import claimed

BLOCK = {"st": "conv1 16, conv1", "r": "conv1 16, conv1"}


def net() -> SPNN:
    net = SPNN((1, 8, 8), [{"unshuffle": 8, "channels": 20, **BLOCK}, BLOCK], outputs=10)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    return net


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3)


def fit(stage: L.LightningModule, folder, steps: int = 3, batch_size: int = 32, **options) -> L.Trainer:
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(**{**quiet, **options}, max_steps=steps, default_root_dir=folder)
    trainer.fit(stage, datamodule=ImageData(Digits(), batch_size=batch_size, flip=False))
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
    clean = prior(x, t).mean
    weight = ((signal / sigma) ** 2).clamp(0.01, 5)
    expected = (weight * (clean - image) ** 2).mean()
    assert stage.loss(image, noise, t).item() == pytest.approx(expected.item(), rel=1e-3)


class Spoiled(TaskStage):
    """A stage whose loss is not a number at its sixth step."""

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss * math.nan if batch_idx == 5 else loss


def test_a_loss_that_is_not_a_number_stops_training_and_says_where(tmp_path):
    stage = Spoiled(net(), reconstruction_weight=40.0, optimizer=adam)
    last = LastCheckpoint(every_n_train_steps=4)
    with pytest.raises(NonFiniteLossError, match="the loss is nan at step 5") as caught:
        fit(stage, tmp_path, steps=9, callbacks=[last], enable_checkpointing=True)
    batch = list(ShuffledBatches(1437, 32, 44, 0))[5]
    assert f"The batch's images: {', '.join(map(str, batch[:8]))} and 24 more." in str(caught.value)
    (kept,) = tmp_path.rglob("last.ckpt")
    assert f"The last good checkpoint is {kept}" in str(caught.value) and steps_in(kept) == 4


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_a_number_stops_training_before_it_spoils_the_weights(clip, tmp_path):
    class Rooted(TaskStage):
        def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
            loss = super().training_step(batch, batch_idx)
            return loss + (0 * loss).sqrt() if batch_idx == 2 else loss  # no slope at 0

    stage = Rooted(net(), reconstruction_weight=40.0, optimizer=adam)
    with pytest.raises(NonFiniteLossError, match="the gradient is not finite at step 2, but the loss is"):
        fit(stage, tmp_path, gradient_clip_val=clip)
    assert all(parameter.isfinite().all() for parameter in stage.parameters())


def test_the_images_of_a_loss_that_is_not_a_number_are_those_of_its_part_of_the_step(tmp_path):
    stage = Spoiled(net(), reconstruction_weight=40.0, optimizer=adam)
    with pytest.raises(NonFiniteLossError, match="the loss is nan at step 1") as caught:
        fit(stage, tmp_path, steps=9, accumulate_grad_batches=4)
    batch = list(ShuffledBatches(1437, 32, 44, 0))[5]
    assert f"The batch's images: {', '.join(map(str, batch[:8]))} and 24 more." in str(caught.value)


def prior() -> UNetPrior:
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    return UNetPrior((1, 8, 8), block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1, **blocks)


def test_pictures_of_a_prior_load_the_runs_network_once():
    loaded = []
    run = SimpleNamespace(surjection=lambda: loaded.append(net()) or loaded[0], has=lambda _: True, source=Digits())
    pictures = Pictures(run, images=2, sampler=partial(Sampler, steps=1), guidance=unguided, logit=4.0)
    stage = PriorStage(prior(), optimizer=adam)
    stage.log = lambda *_, **__: None
    with torch.no_grad():
        for _ in range(2):
            pictures._of_prior(stage, torch.rand(2, 1, 8, 8))
    assert len(loaded) == 1


@pytest.mark.parametrize("stage", ["inverse", "prior"])
def test_stages_are_tested_in_full_precision(stage):
    made = {
        "inverse": lambda: InverseStage(net(), natural_weight=1.0, reconstruction_weight=1.0, optimizer=adam),
        "prior": lambda: PriorStage(prior(), optimizer=adam),
    }[stage]()
    images, logged = torch.rand(4, 1, 8, 8), {}
    made.log = lambda name, value, **_: logged.update({name: value})
    with torch.autocast("cpu", torch.bfloat16):
        made.test_step({"image": images}, 0)
    rough = dict(logged)
    made.test_step({"image": images}, 0)
    assert logged == rough


def test_attributes_that_are_hard_and_move_weigh_more():
    weights = AdaptiveWeights(3, interval=1, window=2)
    losses = torch.tensor([[1.0, 2.0, 1.0], [1.0, 2.0, 1.0], [0.5, 1.0, 0.9], [0.5, 1.0, 0.9]])
    for row in losses[:3]:
        weights.update(row)
        assert torch.equal(weights.weights, torch.ones(3))  # not enough is known
    weights.update(losses[3])
    now, before = torch.tensor([0.5, 1.0, 0.9]), torch.tensor([1.0, 2.0, 1.0])
    trend = (before - now) / now
    expected = (trend / trend.mean()) * (now / now.mean())
    torch.testing.assert_close(weights.weights, expected / expected.mean())
    assert weights.weights[1] > weights.weights[0] > weights.weights[2]
    for _ in range(4):
        weights.update(now)  # nothing moves: the weights stay
    assert weights.weights.isfinite().all()


def test_weights_of_attributes_follow_the_validation_losses_and_weigh_the_loss(tmp_path):
    make = partial(AdaptiveWeights, interval=2, window=1)
    stage = TaskStage(net(), reconstruction_weight=0.0, attribute_weights=make, optimizer=adam)
    fit(stage, tmp_path, steps=3)
    assert stage.attribute_weights.history.isnan().any(1).tolist() == [True, False]  # one is kept
    stage = TaskStage(net(), reconstruction_weight=0.0, attribute_weights=make, optimizer=adam)
    fit(stage, tmp_path, steps=5)
    weights = stage.attribute_weights.weights
    assert weights.mean().item() == pytest.approx(1, abs=1e-5) and weights.std() > 0.01
    image, attributes = torch.randn(4, 1, 8, 8), torch.randint(2, (4, 10)).float()
    y, losses = stage.losses(image, image, attributes)
    wrong = (torch.where(attributes > 0, -y, y)).exp().double()
    assert losses["loss"].item() == pytest.approx((weights * wrong.log1p()).sum(1).mean().item(), rel=1e-4)


def adversarial(reach: float, **options) -> TaskStage:
    return TaskStage(net(), reconstruction_weight=0.0, noise=0.0, adversary=Adversary(reach, **options), optimizer=adam)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_adversary_moves_the_first_images_within_its_reach_and_raises_their_loss(steps):
    stage = adversarial(0.1, steps=steps, share=0.5)
    image, attributes = torch.rand(9, 1, 8, 8) * 1.8 - 0.9, torch.randint(2, (9, 10)).float()
    given = image.clone()
    moved = stage.disturbed(image, attributes)
    assert torch.equal(image, given) and torch.equal(moved[4:], image[4:])
    length = (moved - image)[:4].square().mean((1, 2, 3)).sqrt()
    assert (length <= 0.1 + 1e-6).all() and (length > 0.05).all()

    def loss(x):
        probability = stage.surjection(x).sigmoid()
        return -torch.where(attributes > 0, probability, 1 - probability).log().sum(1)[:4]

    assert (loss(moved) > loss(image)).all()
    assert not moved.requires_grad and all(parameter.grad is None for parameter in stage.parameters())


def test_one_step_of_the_adversary_goes_straight_up_the_gradient():
    image, direction = torch.zeros(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    moved = Adversary(0.05, steps=1, share=1)(image, lambda x, part: (x * direction[part]).sum())
    expected = 0.05 * direction / direction.square().mean((1, 2, 3), keepdim=True).sqrt()
    torch.testing.assert_close(moved, expected)
    flat = Adversary(0.5, steps=2, share=1)(image, lambda x, part: (0 * x).sum())
    assert torch.equal(flat, image)


@pytest.mark.parametrize("share, moved", [(0.0, 0), (0.25, 2), (1.0, 8)])
def test_the_share_says_how_many_are_moved(share, moved):
    image, attributes = torch.rand(8, 1, 8, 8) - 0.5, torch.randint(2, (8, 10)).float()
    changed = (adversarial(0.1, share=share).disturbed(image, attributes) != image).flatten(1).any(1)
    assert changed.tolist() == [True] * moved + [False] * (8 - moved)


def test_how_an_image_is_moved_does_not_depend_on_its_batch():
    stage = adversarial(0.1, steps=3, share=1.0)
    image, attributes = torch.rand(5, 1, 8, 8) * 2 - 1, torch.randint(2, (5, 10)).float()
    together = stage.disturbed(image, attributes)
    for i in range(5):
        alone = stage.disturbed(image[i : i + 1], attributes[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-5)


def test_training_against_an_adversary_reproduces_itself_and_differs_from_training_without(tmp_path):
    weights = {}
    for name, adversary in (("first", Adversary(0.1)), ("again", Adversary(0.1)), ("without", None)):
        torch.manual_seed(0)
        network = net()
        fit(TaskStage(network, reconstruction_weight=40.0, adversary=adversary, optimizer=adam), tmp_path)
        weights[name] = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
    assert torch.equal(weights["first"], weights["again"])
    assert not torch.allclose(weights["first"], weights["without"], atol=1e-5)


@pytest.mark.parametrize("options", [{"reach": 0.0}, {"reach": -1.0}, {"steps": 0}, {"share": -0.1}, {"share": 1.1}])
def test_an_adversary_out_of_range_is_refused(options):
    with pytest.raises(InputError, match="an adversary needs a positive reach, at least one step and a share"):
        Adversary(**{"reach": 0.1} | options)


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path):
    def sgd(parameters) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.01)

    torch.manual_seed(0)
    start, results = net().state_dict(), []
    for batch_size, options in ((32, {}), (8, {"accumulate_grad_batches": 4})):
        network = net()
        network.load_state_dict(start)
        stage = TaskStage(network, reconstruction_weight=40.0, optimizer=sgd)
        fit(stage, tmp_path, batch_size=batch_size, gradient_clip_val=1.0, **options)
        results.append(dict(network.state_dict()))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-5)
    assert (results[0]["parts.0.mixing.parameter"] - start["parts.0.mixing.parameter"]).abs().max() > 1e-3


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


SHORT = ("experiment=digits", "stages=[task]", "callbacks.pictures=null", "trainer.precision=32-true")
FEW = "stage.task.trainer={max_steps: 4, val_check_interval: 2}"


def test_checkpoints_lie_in_the_stages_folder_whatever_the_loggers(tmp_path):
    train(configuration("train", *SHORT, FEW, "logger=tensorboard"), tmp_path / "run")
    assert {path.name for path in (tmp_path / "run/task/checkpoints").iterdir()} == {"best.ckpt"}
    assert (tmp_path / "run/task/weights.safetensors").exists()


@pytest.mark.parametrize("words", [("callbacks.best=null",), ("+trainer.limit_val_batches=0",)])
def test_without_a_best_checkpoint_the_last_weights_are_taken_and_it_is_said(words, tmp_path, caplog):
    train(configuration("train", *SHORT, FEW, *words), tmp_path / "run")
    assert "so the last are taken" in caplog.text and (tmp_path / "run/task/weights.safetensors").exists()


def test_a_moved_folder_keeps_its_best_score(tmp_path):
    there, here = tmp_path / "there/checkpoints", tmp_path / "here/checkpoints"
    state = {"dirpath": str(there), "best_model_score": 0.5, "best_model_path": f"{there}/best.ckpt",
             "best_k_models": {f"{there}/best.ckpt": 0.5}, "last_model_path": "", "kth_value": 0.5}  # fmt: skip
    AtomicCheckpoints().save_checkpoint({"callbacks": {"ModelCheckpoint": state, "other": [1]}}, there / "last.ckpt")
    there.parent.rename(here.parent)
    moved = AtomicCheckpoints().load_checkpoint(here / "last.ckpt")["callbacks"]["ModelCheckpoint"]
    assert moved == state | {
        "dirpath": str(here), "best_model_path": f"{here}/best.ckpt", "best_k_models": {f"{here}/best.ckpt": 0.5}
    }  # fmt: skip


def test_devices_that_are_not_there_are_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(InputError, match="not a valid input using cpu"):
        train(configuration("train", *SHORT, FEW, "trainer.accelerator=cpu", "trainer.devices=0"), tmp_path / "run")
    with pytest.raises(InputError, match="batch_size=1: the judge normalises"):
        train(
            configuration("train", "experiment=digits", "stages=[judge]", "stage.judge.batch_size=1"), tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


def test_runs_that_begin_at_once_have_a_folder_each_and_a_chosen_one_is_taken_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SPNN_STARTED", "now")
    first, second = (claimed(tmp_path / "now", (), is_named=False) for _ in range(2))
    assert [record.folder.name for record in (first, second)] == ["now", "now_2"]
    assert os.environ["SPNN_STARTED"] == "now_2"
    with pytest.raises(InputError, match="is being trained by another process"):
        claimed(tmp_path / "now", (), is_named=True)
    first.release()
    claimed(tmp_path / "now", (), is_named=True).release()


def test_labels_are_the_runs_whatever_the_table_says_now(tmp_path):
    rows, pixels = ["image,first,second"], torch.Generator().manual_seed(0)
    for i in range(20):
        image = torch.randint(255, (8, 8, 3), generator=pixels, dtype=torch.uint8)
        Image.fromarray(image.numpy()).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{i % 2},{i // 2 % 2}")
    (tmp_path / "attributes.csv").write_text("\n".join(rows))
    run = Run(tmp_path / "run", OmegaConf.create({"data": {"root": str(tmp_path), "source": {
        "_target_": "spnn.data.ImageFolder", "root": str(tmp_path), "size": 8
    }}}))  # fmt: skip
    run.folder.mkdir()
    run.keep_labels(run.source)
    before = run.source.split("train").labels
    other = [row.split(",") for row in rows]
    (tmp_path / "attributes.csv").write_text("\n".join(f"{name},{b},{a}" for name, a, b in other))  # the other order
    again = Run(run.folder, run.config)
    assert again.source.label_names == ("first", "second") and (again.source.split("train").labels == before).all()
    moved = tmp_path / "moved"
    moved.mkdir()
    again.move_data(str(moved))
    assert Run(run.folder, again.config).source.readout.names == ("first", "second")  # without the data


def test_a_loss_of_zero_leaves_weights_finite_and_validations_have_none():
    weights = AdaptiveWeights(2, window=1)
    for losses in ([1.0, 0.0], [0.5, 0.0]):
        weights.update(torch.tensor(losses))
    assert weights.weights.isfinite().all()
    stage = TaskStage(
        net(), reconstruction_weight=1, attribute_weights=lambda count: AdaptiveWeights(count), optimizer=adam
    )
    stage.attribute_weights.weights.fill_(3)
    y, labels = torch.randn(4, 10), torch.ones(4, 10)
    trained, validated = (stage.train(mode).losses_of_each(y, labels) for mode in (True, False))
    torch.testing.assert_close(trained, 3 * validated)
