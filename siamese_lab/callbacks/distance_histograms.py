"""Histograms of d_ap and d_an of what was last selected, for TensorBoard, at every validation."""

from lightning import Callback, LightningModule, Trainer

from siamese_lab.callbacks.event_writer import event_writer
from siamese_lab.callbacks.selected import selected_distances
from siamese_lab.module import SiameseModule


class DistanceHistograms(Callback):
    """Writes `train/d_ap` and `train/d_an`: plain distances within the triplets of the last training step."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write them, unless validation is not within training."""
        writer = event_writer(trainer)
        if writer is None or trainer.state.fn != "fit":
            return
        assert isinstance(pl_module, SiameseModule)
        for name, values in selected_distances(pl_module)._asdict().items():
            writer.add_histogram(f"train/{name}", values, trainer.global_step)
        writer.flush()
