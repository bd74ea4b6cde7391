"""Histograms of d_ap and d_an of what was last selected, for TensorBoard, at every validation."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from siamese_lab.training.callbacks.event_writer import event_writer
from siamese_lab.training.callbacks.selected import step_distances
from siamese_lab.training.module import StepOutput


class DistanceHistograms(Callback):
    """Writes `train/d_ap` and `train/d_an`: plain distances within the triplets of the last training step."""

    def __init__(self) -> None:
        self._step: StepOutput | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Keep the step for the validation that may follow it."""
        self._step = outputs["step"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write them, unless validation is not within training."""
        writer = event_writer(trainer)
        if writer is None or trainer.state.fn != "fit" or self._step is None:
            return
        d_ap, d_an = step_distances(self._step)
        writer.add_histogram("train/d_ap", d_ap, trainer.global_step)
        writer.add_histogram("train/d_an", d_an, trainer.global_step)
        writer.flush()
