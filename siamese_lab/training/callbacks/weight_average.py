"""An exponential moving average of the network's weights, which is what is validated, kept and tested.

In its first steps the average forgets faster, so that it does not drag the initial weights along: after n of them it
keeps min(decay, (1 + n) / (10 + n)) of itself. It waits for no GPU, unlike torch's `AveragedModel`.
"""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.training.module import SiameseModule

PREFIX = "network."
TRAINED_ON = "before_averaging"


class WeightAverage(Callback):
    """Averages weights and batch-norm statistics after every step, and lends them to the network while it validates.

    In a checkpoint `state_dict` holds the average, and `before_averaging` the weights that training goes on with.

    Args:
        decay: share of the average that a step leaves, 0 < decay < 1.
    """

    def __init__(self, decay: float) -> None:
        if not 0 < decay < 1:
            raise UserError(f"ema is the decay of the average, above 0 and below 1, or null for none, but is {decay}.")
        self.decay = decay
        self.steps = 0
        self.average: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin from the initial weights, unless a checkpoint told the average."""
        current = tensors_of(pl_module)
        known = self.average or current
        self.average = {
            name: known[name].to(tensor.device, tensor.dtype, copy=True) for name, tensor in current.items()
        }

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Move the average towards the new weights; what only counts is taken as it is."""
        share_of_new = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for name, tensor in tensors_of(pl_module).items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, share_of_new)
            else:
                self.average[name].copy_(tensor)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lend the average."""
        if trainer.state.fn == "fit":
            self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take it back, before checkpoints are written."""
        if trainer.state.fn == "fit":
            self._swap(pl_module)

    def _swap(self, pl_module: LightningModule) -> None:
        for name, tensor in tensors_of(pl_module).items():
            lent = self.average[name].clone()
            self.average[name].copy_(tensor)
            tensor.copy_(lent)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the average where weights are looked for, and the weights beside it."""
        checkpoint[TRAINED_ON] = {"steps": self.steps, "weights": tensors_of(pl_module)}
        checkpoint["state_dict"] = {
            **checkpoint["state_dict"],
            **{f"{PREFIX}{name}": tensor for name, tensor in self.average.items()},
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the weights and the average apart again; one that was written without an average begins one here."""
        if TRAINED_ON in checkpoint:
            self.steps = checkpoint[TRAINED_ON]["steps"]
            current = tensors_of(pl_module)
            self.average = {name: tensor.clone() for name, tensor in current.items()}
            for name, tensor in checkpoint[TRAINED_ON]["weights"].items():
                current[name].copy_(tensor)


def tensors_of(pl_module: LightningModule) -> dict[str, Tensor]:
    """The network's weights and persistent buffers, themselves and not copies."""
    assert isinstance(pl_module, SiameseModule)
    return {name: each for name, each in pl_module.network.state_dict().items() if isinstance(each, Tensor)}
