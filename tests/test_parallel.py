"""Training in two processes, each with half of the batch, is training in one."""

import csv
import math
import socket
from functools import partial

import lightning as L
import pytest
import torch
import torch.distributed as dist
from commands import succeed
from safetensors.torch import load_file
from torch.multiprocessing import ProcessRaisedException
from torch.nn.parallel import DistributedDataParallel

from spnn import SPNN
from spnn.data import Digits, ImageData
from spnn.training import TaskStage


def build(mixing: str) -> SPNN:
    torch.manual_seed(0)
    net = SPNN((3, 8, 8), [{"unshuffle": 4, "channels": 6}, {"unshuffle": 2, "channels": 5}], hidden=8, mixing=mixing)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return net


class Reconstruction(torch.nn.Module):
    """The error of ``g†(g(x))``, which uses each ``W`` twice."""

    def __init__(self, net: SPNN):
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.net.pinv(self.net(x)) - x).square().mean()


def train(loss: torch.nn.Module, x: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.5, fused=True)
    for _ in range(3):
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()


def work(rank: int, port: int, mixing: str, x: torch.Tensor, result: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    net = build(mixing)
    train(DistributedDataParallel(Reconstruction(net)), x.chunk(2)[rank])
    if rank == 0:
        torch.save(net.state_dict(), result)
    dist.barrier()  # the first process keeps what the others talk through
    dist.destroy_process_group()


@pytest.mark.nightly
@pytest.mark.parametrize("mixing", ["cayley", pytest.param("exponential", marks=pytest.mark.nightly)])
def test_two_processes_train_the_network_that_one_trains(mixing, tmp_path):
    x = torch.randn(4, 3, 8, 8)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, mixing, x, str(tmp_path / "net.pt")), nprocs=2)
    alone = build(mixing)
    start = alone.state_dict()["parts.0.mixing.parameter"].clone()
    train(Reconstruction(alone), x)
    together = torch.load(tmp_path / "net.pt", weights_only=True)
    torch.testing.assert_close(together, dict(alone.state_dict()), rtol=0, atol=1e-5)
    assert (together["parts.0.mixing.parameter"] - start).abs().max() > 1e-3


class SpoiledInTheSecond(TaskStage):
    """A stage whose loss is not a number at the fourth step of the second process."""

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss * math.nan if (batch_idx, self.global_rank) == (3, 1) else loss


@pytest.mark.nightly
def test_all_processes_halt_at_a_loss_of_one_that_is_not_a_number(tmp_path):
    torch.manual_seed(0)
    block = {"st": "conv1 8, conv1", "r": "conv1 8, conv1"}
    net = SPNN((1, 8, 8), [{"unshuffle": 8, "channels": 20, **block}, block], outputs=10)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_spawn",
        max_steps=8,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
    )
    stage = SpoiledInTheSecond(net, reconstruction_weight=1.0, optimizer=partial(torch.optim.SGD, lr=1e-3))
    with pytest.raises(ProcessRaisedException, match=r"the loss is nan at step 3\. The batch's images:"):
        trainer.fit(stage, datamodule=ImageData(Digits(), 32, flip=False))


@pytest.mark.slow
def test_a_run_on_two_devices_has_the_losses_of_one_on_one(tmp_path):
    """Both phases, on the same global batches; what is random within an image is switched off."""
    options = (
        "experiment=digits",
        "stages=[task,inverse]",
        "stage.task.module.noise=0",
        "stage.task.module.optimizer._target_=torch.optim.SGD",
        "stage.task.module.optimizer.lr=0.01",
        "stage.inverse.module.optimizer._target_=torch.optim.SGD",
        "stage.task.trainer={max_steps: 6, val_check_interval: 3}",
        "stage.inverse.trainer={max_steps: 4, val_check_interval: 4}",
        "trainer.log_every_n_steps=1",
        "trainer.precision=32-true",
        "trainer.accelerator=cpu",
    )
    sizes = "stage.task.batch_size={0}", "stage.inverse.batch_size={0}"
    one, two = tmp_path / "one", tmp_path / "two"
    succeed("train.py", *options, *(size.format(32) for size in sizes), f"folder={one}", "trainer.devices=1")
    ddp = ("trainer.devices=2", "trainer.strategy=ddp")
    succeed("train.py", *options, *(size.format(16) for size in sizes), f"folder={two}", *ddp, fresh=True)
    for stage in ("task", "inverse"):
        losses = []
        for run in (one, two):
            with (run / stage / "metrics.csv").open() as file:
                rows = list(csv.DictReader(file))
            # Of a step, the first device's half is logged; of a validation, the mean over both.
            losses.append([float(row["val/loss"]) for row in rows if row["val/loss"]])
        assert losses[0] == pytest.approx(losses[1], rel=1e-3) and losses[0]
        ours, theirs = (load_file(run / stage / "weights.safetensors") for run in (one, two))
        torch.testing.assert_close(theirs, ours, rtol=0, atol=3e-5)  # the adversary scales gradients to a length
