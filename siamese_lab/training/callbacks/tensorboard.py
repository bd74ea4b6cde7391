"""TensorBoard: the logger that writes one event file per run, and callbacks that add to this file or clean it."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from siamese_lab.runs.disk import FULL
from siamese_lab.training.callbacks.csv_logger import RunCSVLogger
from siamese_lab.training.callbacks.selected import selects_triplets, step_distances
from siamese_lab.training.module import StepOutput
from siamese_lab.training.trackers import picture_loggers


class RunTensorBoardLogger(TensorBoardLogger):
    """Writes all events of a run into one file.

    Lightning finalizes its loggers after fit, validate and test. `TensorBoardLogger` closes its event file each time
    and opens another one for the next stage. This logger only flushes the file, until `close` is called.
    """

    _writer: SummaryWriter | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        """Return the writer. The first call opens the event file."""
        self._writer = super().experiment
        return self._writer

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write the metrics without Lightning's `epoch`, which would be the first metric of the HPARAMS tab."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)

    @rank_zero_only
    def log_histogram(self, name: str, values: Tensor, step: int) -> None:
        """Write how values of any shape are distributed."""
        self.experiment.add_histogram(name, values, step)
        self.experiment.flush()

    @rank_zero_only
    def log_picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Write a picture (height, width, 3)."""
        self.experiment.add_image(name, pixels, step, dataformats="HWC")
        self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flush the events of the stage that has ended; after a success also write hparams.yaml."""
        if self._writer is None:
            return
        self._writer.flush()
        if status == "success":
            self.save()

    @rank_zero_only
    def close(self) -> None:
        """Write the remaining events and close the file."""
        if self._writer is not None:
            self._writer.close()


@contextmanager
def closing_event_files(trainer: Trainer) -> Iterator[None]:
    """Close the event file of a run after the block, also after an error.

    TensorBoard writes in a thread, which ends when the disk is full. The next call of the writer raises the error in
    the main thread, so the thread prints no traceback.
    """
    former = threading.excepthook

    def print_other_errors(raised: threading.ExceptHookArgs) -> None:
        if not (isinstance(raised.exc_value, OSError) and raised.exc_value.errno in FULL):
            former(raised)

    threading.excepthook = print_other_errors
    try:
        yield
    finally:
        try:
            for logger in trainer.loggers:
                if isinstance(logger, RunTensorBoardLogger):
                    logger.close()
        finally:
            threading.excepthook = former


def event_writer(trainer: Trainer) -> SummaryWriter | None:
    """Return the TensorBoard writer, or None if the run writes no events or this is not the first process."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
            return logger.experiment
    return None


class PurgeLaterEvents(Callback):
    """Makes TensorBoard and the CSV file discard the values that a resumed run writes again.

    Those are the values after the checkpoint. A run that starts at step 0 discards all earlier values in its folder.

    Args:
        keeps_evaluation: if True, the values of the checkpoint's step stay. They are those of the evaluation at the
            end of a run that had finished. Otherwise they are those of the next training step.
    """

    def __init__(self, keeps_evaluation: bool = False) -> None:
        self.keeps_evaluation = keeps_evaluation

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Discard all values from the first step that is written again."""
        done = trainer.global_step
        first = done + 1 if self.keeps_evaluation or not done else done
        writer = event_writer(trainer)
        if writer is not None:
            restart = Event(session_log=SessionLog(status=SessionLog.START))
            writer.file_writer.add_event(restart, first)  # type: ignore[attr-defined]
        for logger in trainer.loggers:
            if isinstance(logger, RunCSVLogger) and trainer.is_global_zero and done:
                logger.keep_rows(first)


class DistanceHistograms(Callback):
    """Writes `train/d_ap` and `train/d_an` at every validation.

    They are histograms of the plain distances within the triplets of the last training step.
    """

    def __init__(self) -> None:
        self._step: StepOutput | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Keep the step for a validation that may follow it."""
        self._step = outputs["step"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the histograms, if the validation belongs to training."""
        if not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        if self._step is None or not selects_triplets(self._step) or not picture_loggers(trainer):
            return
        d_ap, d_an = step_distances(self._step)
        for logger in picture_loggers(trainer):
            logger.log_histogram("train/d_ap", d_ap, trainer.global_step)
            logger.log_histogram("train/d_an", d_an, trainer.global_step)
