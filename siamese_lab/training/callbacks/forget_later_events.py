"""A run that goes on from a checkpoint writes again what it had written after it, which TensorBoard is to forget."""

from lightning import Callback, LightningModule, Trainer
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from siamese_lab.training.callbacks.event_writer import event_writer


class ForgetLaterEvents(Callback):
    """Says so as training begins; where it begins from the start, that all is to be forgotten that lies there."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it."""
        writer = event_writer(trainer)
        if writer is not None:
            restart = Event(session_log=SessionLog(status=SessionLog.START))
            writer._get_file_writer().add_event(restart, trainer.global_step + 1)
