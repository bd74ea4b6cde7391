"""TensorBoard's writer of a run, where it has one."""

from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter


def writes_events(trainer: Trainer) -> bool:
    """Return whether the run writes TensorBoard events; the answer is the same in all processes."""
    return any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers)


def event_writer(trainer: Trainer) -> SummaryWriter | None:
    """Where this process writes events; None with other loggers, without one, and in all processes but the first."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
            return logger.experiment
    return None
