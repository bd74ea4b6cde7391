"""Ctrl-C and SIGTERM end a run between two steps, with a checkpoint to go on from."""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console

from siamese_lab import distributed
from siamese_lab.training.launch import SIGNALS, Shared


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

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell pickle to build it from its own arguments, as it travels between processes."""
        return type(self), (self.number, self.checkpoint)


class StopOnSignal(Checkpoint):
    """Finishes the step, saves a checkpoint and raises `Interrupted`; a second signal stops at once.

    Several processes decide after each step together whether one of them was asked to stop.

    Lightning calls a `Checkpoint` after all other callbacks and in their order, so put it behind `BestCheckpoint`.

    Args:
        checkpoint: where to save.
        console: where to say so.
        shared: where the process that started this one, if any, asks for a stop.
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
        """Begin to listen."""
        self._group = distributed.host_group()
        self._step = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._receive) for number in SIGNALS}
        if self.shared is not None:
            self.shared.listens = True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()
        self.console.print("Stopping after this step. Once more stops at once, without a checkpoint.")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Stop here if asked to, unless gradients are still accumulated or the validation of this step is to come."""
        stepped, self._step = trainer.global_step > self._step, trainer.global_step
        if stepped and (trainer.fit_loop.total_batch_idx + 1) % trainer.val_check_interval != 0:
            self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop here if asked to."""
        if trainer.state.fn == "fit":
            self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: Trainer) -> None:
        asked = self.received or (self.shared.signal if self.shared is not None else 0)
        number = distributed.greatest(asked, self._group)
        if number:
            trainer.save_checkpoint(self.checkpoint)
            raise Interrupted(number, self.checkpoint)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen no longer."""
        if self.shared is not None:
            self.shared.listens = False
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}
