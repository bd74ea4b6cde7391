"""The seconds of training alone: validation and what comes before and after are left out."""

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer


class TrainingClock(Callback):
    """Runs while training steps do; what it shows travels in checkpoints, so a resumed run counts on."""

    def __init__(self) -> None:
        self._before = 0.0
        self._since: float | None = None

    def seconds(self) -> float:
        """Shown now."""
        return self._before + (time.perf_counter() - self._since if self._since is not None else 0.0)

    def _go(self) -> None:
        self._since = time.perf_counter()

    def _halt(self) -> None:
        self._before, self._since = self.seconds(), None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go."""
        self._go()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Halt for validation."""
        self._halt()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on, if this was within training."""
        if trainer.state.fn == "fit":
            self._go()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Halt for good, also after an error."""
        self._halt()

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far."""
        return {"seconds": self.seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on from there."""
        self._before = state_dict["seconds"]
