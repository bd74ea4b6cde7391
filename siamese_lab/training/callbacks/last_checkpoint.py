"""A checkpoint at every validation, so that a run which is killed loses no more than what came since."""

from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint


class LastCheckpoint(Checkpoint):
    """Writes last.ckpt anew, whole or not at all.

    Lightning calls a `Checkpoint` after all other callbacks and in their order, so put it behind `BestCheckpoint`.

    Args:
        place: of the file.
    """

    def __init__(self, place: Path) -> None:
        self.place = place

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it."""
        if trainer.state.fn == "fit":
            trainer.save_checkpoint(self.place)
