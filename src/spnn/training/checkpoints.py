"""Checkpoints that an interruption can't damage, and from which training continues as if uninterrupted."""

import logging
import os
import signal
import threading
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from spnn.errors import InputError, NonFiniteLossError
from spnn.menu import program
from spnn.saving import replacing

__all__ = ["AtomicCheckpoints", "LastCheckpoint", "steps_in"]

log = logging.getLogger(__name__)


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint next to its final place and moves it there in one step, so that the file there is always
    whole, either the old or the new one. (Lightning writes to the folder for temporary files, and a move from there may
    be a copy.) The run's folder may be moved or renamed before training continues.
    """

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Read a checkpoint, and change the paths in it to the folder where it is now; otherwise
        :class:`~lightning.pytorch.callbacks.ModelCheckpoint` would forget the best score."""
        checkpoint = super().load_checkpoint(path, *arguments, **options)
        here = os.path.realpath(Path(path).parent)
        for state in checkpoint.get("callbacks", {}).values():
            if isinstance(state, dict) and isinstance(there := state.get("dirpath"), str):
                state.update({key: _moved(value, there, here) for key, value in state.items()})
        return checkpoint

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            InputError: If it can't be written; the earlier checkpoint is left as it was.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as unfinished, unfinished.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:
            # PyTorch's writer raises its own error while it handles the system's.
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            if not isinstance(cause, OSError):  # such as a failed computation, which appears when a tensor is read
                raise
            raise InputError(
                f"the checkpoint {path} can't be written: {cause.strerror or cause}. Free space or make the folder "
                "writable, and go on with resume=true."
            ) from error


def _moved(value: Any, there: str, here: str) -> Any:
    """A path, or a dictionary whose keys are paths, moved to another folder; anything else unchanged."""
    if isinstance(value, dict):
        return {_moved(key, there, here): item for key, item in value.items()}
    inside = isinstance(value, str) and (value == there or value.startswith(there + os.sep))
    return here + value[len(there) :] if inside else value


class LastCheckpoint(ModelCheckpoint):
    """``last.ckpt``, from which ``resume=true`` continues: written at intervals, and when a signal or an error
    interrupts training between two steps, unless the weights themselves may be bad.

    A step changes the weights, their average and the batch statistics one after the other, so Ctrl-C takes effect when
    the step ends; a second Ctrl-C takes effect at once, and costs the steps since the last checkpoint.

    Arguments:
        every_n_train_steps: The interval, in steps of the optimiser.
    """

    def __init__(self, every_n_train_steps: int):
        super().__init__(
            filename="last",
            every_n_train_steps=every_n_train_steps,
            save_on_exception=True,
            save_top_k=1,
            enable_version_counter=False,
        )
        self.between_steps = self.interrupted = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.trainer, self.between_steps, self.interrupted = trainer, True, False
        in_main = threading.current_thread() is threading.main_thread()  # the only one that gets signals
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self.interrupt)

    def interrupt(self, *received: Any) -> None:
        """Handle Ctrl-C during training."""
        if self.interrupted or not self.trainer.training:
            signal.default_int_handler(*received)
        self.interrupted = True

    def stop_listening(self) -> None:
        """Give Ctrl-C its usual effect again, unless Lightning has changed it since."""
        if signal.getsignal(signal.SIGINT) == self.interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        if self.between_steps and trainer.strategy.reduce_boolean_decision(self.interrupted, all=False):
            raise KeyboardInterrupt  # in all processes at the same step
        self.between_steps = False

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        batches = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        validates = trainer.val_check_batch is not None and batches % trainer.val_check_batch == 0
        self.between_steps = not validates and batches % trainer.accumulate_grad_batches == 0
        due = trainer.global_step % self._every_n_train_steps == 0 and not self._should_skip_saving_checkpoint(trainer)
        if due and validates:
            # Save after the validation that follows: a resumed run would skip it, but must know its score.
            self._defer_save_until_validation = True
        else:
            super().on_train_batch_end(trainer, *args)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        batches = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        self.between_steps = batches % trainer.accumulate_grad_batches == 0

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        self.between_steps = False  # averaged weights were copied over the trained ones
        self.stop_listening()
        if self.interrupted:
            raise KeyboardInterrupt

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.stop_listening()
        if isinstance(exception, NonFiniteLossError | InputError):
            return
        # During validation, averaged weights are swapped in. If one of several processes fails, saving would wait for
        # the others.
        alone = trainer.world_size == 1 or not isinstance(exception, Exception)
        if trainer.training and self.between_steps and alone:
            super().on_exception(trainer, pl_module, exception)
        if (last := Path(self.dirpath or "", "last.ckpt")).exists():
            log.warning(
                "interrupted at step %d: go on from step %d with `%s`",
                trainer.global_step,
                steps_in(last),
                program("train", f"folder={Path(trainer.default_root_dir).parent}", "resume=true"),
            )


def steps_in(checkpoint: Path) -> int:
    """The number of training steps before a checkpoint was written.

    Raises:
        InputError: If it can't be read.
    """
    try:
        return torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"]
    except Exception as error:
        raise InputError(
            f"the checkpoint {checkpoint} can't be read: {str(error).partition(chr(10))[0]} Delete it to train this "
            "stage from its beginning."
        ) from error
