"""The weights that validate best, and of equally good ones the last: where validation saturates, longer trained."""

from pathlib import Path

from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor


class BestCheckpoint(ModelCheckpoint):
    """Keeps best.ckpt.

    Args:
        folder: of checkpoints.
        monitor: the metric to be highest.
    """

    def __init__(self, folder: Path, monitor: str) -> None:
        super().__init__(folder, "best", monitor, mode="max", enable_version_counter=False)

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Whether to keep the weights: also when they are just as good."""
        equal = current is not None and self.best_model_score is not None and bool(current == self.best_model_score)
        # All processes have to take the same way, as the other one waits for all of them.
        return trainer.strategy.reduce_boolean_decision(equal) or super().check_monitor_top_k(trainer, current)
