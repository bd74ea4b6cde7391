"""End a run between two steps after Ctrl-C, SIGTERM or SLURM's SIGUSR1, with a checkpoint to resume from."""

import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console
from torch import Tensor

from siamese_lab.devices import processes
from siamese_lab.errors import Interrupted
from siamese_lab.training.launch import SIGNALS, Shared
from siamese_lab.training.module import StepOutput


class StopOnSignal(Checkpoint):
    """After a signal, finishes the step, saves a checkpoint and raises `Interrupted`. A second signal stops at once.

    Several processes decide together after each step whether one of them was asked to stop.

    Lightning calls every `Checkpoint` after all other callbacks, in list order, so list this one after
    `BestCheckpoint`.

    Args:
        checkpoint: path of the checkpoint.
        console: the console that confirms a signal.
        shared: memory through which the parent process, if there is one, asks for a stop.
    """

    def __init__(self, checkpoint: Path, console: Console, shared: Shared | None = None) -> None:
        self.checkpoint = checkpoint
        self.console = console
        self.shared = shared
        self.received: int | None = None
        self._former: dict[int, Any] = {}
        self._group: Any = None
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to listen for signals."""
        self._group = processes.host_group()
        self._step = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._receive) for number in SIGNALS}
        if self.shared is not None:
            self.shared.listens = True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()
        self.console.print("Stopping after this step. A second signal stops at once, without a checkpoint.")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Stop if asked to, unless gradients still accumulate or a validation follows this step."""
        stepped, self._step = trainer.global_step > self._step, trainer.global_step
        if stepped and (trainer.fit_loop.total_batch_idx + 1) % trainer.val_check_interval != 0:
            self._stop_if_asked(trainer, outputs["step"])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if asked to, if the validation belongs to training."""
        if trainer.state.fn == "fit":
            self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: Trainer, step: StepOutput | None = None) -> None:
        asked = self.received or (self.shared.signal if self.shared is not None else 0)
        number = processes.greatest(asked, self._group)
        if number:
            trainer.save_checkpoint(self.checkpoint)
            if step is not None and step.logged is not None:
                write_to_loggers(trainer, step.logged)
            raise Interrupted(number, self.checkpoint)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop listening, and restore the previous signal handlers."""
        if self.shared is not None:
            self.shared.listens = False
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}


def write_to_loggers(trainer: Trainer, logged: Mapping[str, Tensor]) -> None:
    """Write the values of the step that has just ended, which Lightning would write after this hook.

    A resumed run goes on with the next step, so its curves would lack these values.
    """
    values = {f"train/{name}": float(value) for name, value in logged.items()}
    for logger in trainer.loggers:
        logger.log_metrics(values | {"epoch": trainer.current_epoch}, step=trainer.global_step - 1)
        logger.save()
