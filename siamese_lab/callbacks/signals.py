"""Ctrl-C and SIGTERM end a run between two steps, with a checkpoint to go on from."""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818 (nothing went wrong)
    """The run was asked to stop, and has stored where it stood.

    Args:
        number: of the signal.
        checkpoint: to resume from.
    """

    def __init__(self, number: int, checkpoint: Path) -> None:
        super().__init__(f"Interrupted by {signal.Signals(number).name}.")
        self.number = number
        self.checkpoint = checkpoint


class StopOnSignal(Checkpoint):
    """Finishes the step, saves a checkpoint and raises `Interrupted`; a second signal stops at once.

    Lightning calls a `Checkpoint` after all other callbacks and in their order, so put it behind `BestCheckpoint`.

    Args:
        checkpoint: where to save.
        console: where to say so.
    """

    def __init__(self, checkpoint: Path, console: Console) -> None:
        self.checkpoint = checkpoint
        self.console = console
        self.received: int | None = None
        self._former: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to listen."""
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()
        self.console.print("Stopping after this step. Once more stops at once, without a checkpoint.")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Stop here if asked to, unless the validation of this step is still to come."""
        if (trainer.fit_loop.total_batch_idx + 1) % trainer.val_check_interval != 0:
            self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop here if asked to."""
        if trainer.state.fn == "fit":
            self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: Trainer) -> None:
        if self.received is not None:
            trainer.save_checkpoint(self.checkpoint)
            raise Interrupted(self.received, self.checkpoint)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen no longer."""
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}
