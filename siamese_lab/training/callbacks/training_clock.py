"""Count the seconds of training steps, without validation and without the work before and after training."""

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

from siamese_lab.runs.plain_values import finite_number


class TrainingClock(Callback):
    """Runs while training steps run. Checkpoints store its seconds, so a resumed run continues to count."""

    def __init__(self) -> None:
        self._before = 0.0
        self._since: float | None = None

    def seconds(self) -> float:
        """Return the seconds so far."""
        return self._before + (time.perf_counter() - self._since if self._since is not None else 0.0)

    def _start(self) -> None:
        self._since = time.perf_counter()

    def _stop(self) -> None:
        self._before, self._since = self.seconds(), None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock for validation."""
        self._stop()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock again, if the validation belongs to training."""
        if trainer.state.fn == "fit":
            self._start()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop the clock, also after an error."""
        self._stop()

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds so far, for a checkpoint."""
        return {"seconds": self.seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the stored seconds."""
        self._before = finite_number(state_dict["seconds"], "seconds")
