"""The base of every training stage: optimiser, schedule, and a stop when the loss is not a number."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spnn.data.module import ImageData
from spnn.errors import NonFiniteLossError
from spnn.training.checkpoints import LastCheckpoint

__all__ = ["Stage"]


class Stage(L.LightningModule):
    """Base class of the stages. The first argument of a subclass is the model that it trains.

    Arguments:
        optimizer: Makes the optimiser from the parameters to train.
        scheduler: Makes the learning-rate schedule from the optimiser and ``total_steps``; None for a constant rate.
    """

    trains: ClassVar[str]
    """The model that the stage trains, and the name of its attribute: ``surjection``, ``prior`` or ``judge``."""
    continues: ClassVar[bool] = False
    """Whether the stage starts from the weights of the last earlier stage that trains the same model."""

    def __init__(
        self,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
    ):
        super().__init__()
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.since_step: list[tuple[Tensor, Tensor | None]] = []
        """The losses since the last step, each with the indices of its images."""

    @property
    def model(self) -> Any:
        """The model that the stage trains."""
        return getattr(self, self.trains)

    @property
    def data(self) -> "ImageData":
        """The trainer's data module."""
        return self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning puts it there

    def configure_optimizers(self):
        optimizer = self.make_optimizer([p for p in self.parameters() if p.requires_grad])
        if self.make_scheduler is None:
            return optimizer
        scheduler = self.make_scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        # Lightning refuses to clip for a fused optimiser in mixed precision because the loss may be scaled. In bfloat16
        # it isn't.
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if gradient_clip_val and gradient_clip_algorithm in (None, "norm") and self.trainer.scaler is None:
            size = torch.nn.utils.clip_grad_norm_(parameters, gradient_clip_val)
        else:
            size = torch.nn.utils.get_total_norm([p.grad for p in parameters])
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        # Check the gradient, which is the same in all processes: if only one stopped, the others would wait for it.
        since, self.since_step = self.since_step, []
        if not size.isfinite():
            raise NonFiniteLossError(self._what_is_not_finite(since))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue at a whole step: gradients accumulated for the next step are not in the checkpoint."""
        steps, loop = checkpoint["global_step"], checkpoint["loops"]["fit_loop"]
        batches = steps * self.trainer.accumulate_grad_batches
        for counts in ("total", "current"):
            progress = loop["epoch_loop.batch_progress"][counts]
            progress.update(dict.fromkeys(progress, batches))
        interval = self.trainer.val_check_interval
        validated = isinstance(interval, int) and batches % interval == 0  # if so, Lightning adds one itself
        loop["epoch_loop.state_dict"]["_batches_that_stepped"] = steps - validated

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.seen = batch.get("index")  # to name the images if the loss is not a number

    def on_before_backward(self, loss: Tensor) -> None:
        self.since_step.append((loss.detach(), self.seen))

    def _what_is_not_finite(self, since: list[tuple[Tensor, Tensor | None]]) -> str:
        """A message that names the loss since the last step that is NaN or infinite, and its images."""
        lost = [(loss, seen) for loss, seen in since if not loss.isfinite()]
        message = [f"the gradient is not finite at step {self.global_step}, but the loss is."]
        if lost:
            loss, seen = lost[0]
            message = [f"the loss is {loss.item()} at step {self.global_step}."]
            if seen is not None and getattr(self.trainer, "datamodule", None) is not None:
                names = [self.data.train.name(index) for index in seen.tolist()]
                more = f" and {len(names) - 8} more" if len(names) > 8 else ""
                message.append(f"The batch's images: {', '.join(names[:8])}{more}.")
        if self.trainer.world_size > 1:  # all report the message of the process that has the bad loss
            found = [(not lost, message)] * self.trainer.world_size
            torch.distributed.all_gather_object(found, (not lost, message))
            message = min(found, key=lambda pair: pair[0])[1]
        callbacks = [callback for callback in self.trainer.checkpoint_callbacks if isinstance(callback, LastCheckpoint)]
        if last := next((callback.best_model_path for callback in callbacks if callback.best_model_path), None):
            message.append(f"The last good checkpoint is {last}; resume=true goes on from it.")
        message.append("Train in full precision (trainer.precision=32-true), or with a lower learning rate.")
        return " ".join(message)

    def log_losses(self, split: str, losses: dict[str, Tensor], batch_size: int) -> None:
        """Log each loss as ``split/name``; show the total on the progress bar too."""
        for name, value in losses.items():
            self.log(
                f"{split}/{name}", value, prog_bar=name == "loss", batch_size=batch_size, sync_dist=split != "train"
            )
