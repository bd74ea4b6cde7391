"""An exponential moving average of the network's weights, which is validated, stored and tested instead of them.

The decay starts small, so that the initial weights lose their influence quickly: after n steps it is
min(decay, (1 + n) / (10 + n)). Unlike torch's `AveragedModel`, the update does not wait for the GPU.
"""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.training.module import SiameseModule

PREFIX = "network."
TRAINED_ON = "before_averaging"


class WeightAverage(Callback):
    """Averages weights and batch-norm statistics after every step, and puts them into the network for validation.

    In a checkpoint, `state_dict` holds the average. `before_averaging` holds the weights that training continues with.

    Args:
        decay: weight of the previous average in each step, 0 < decay < 1.
    """

    def __init__(self, decay: float) -> None:
        if not 0 < decay < 1:
            raise UserError(f"ema must be a decay above 0 and below 1, or null for no average, but is {decay}.")
        self.decay = decay
        self.steps = 0
        self.average: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the initial weights, unless a checkpoint stored an average."""
        current = tensors_of(pl_module)
        known = self.average or current
        self.average = {
            name: known[name].to(tensor.device, tensor.dtype, copy=True) for name, tensor in current.items()
        }

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Move the average towards the new weights. Integer buffers, which are counters, are copied."""
        share_of_new = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for name, tensor in tensors_of(pl_module).items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, share_of_new)
            else:
                self.average[name].copy_(tensor)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average into the network, if the validation belongs to training."""
        if trainer.state.fn == "fit":
            self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the trained weights back, before checkpoints are written."""
        if trainer.state.fn == "fit":
            self._swap(pl_module)

    def _swap(self, pl_module: LightningModule) -> None:
        for name, tensor in tensors_of(pl_module).items():
            averaged = self.average[name].clone()
            self.average[name].copy_(tensor)
            tensor.copy_(averaged)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the average as the weights of the checkpoint, and the trained weights under their own key."""
        checkpoint[TRAINED_ON] = {"steps": self.steps, "weights": tensors_of(pl_module)}
        checkpoint["state_dict"] = {
            **checkpoint["state_dict"],
            **{f"{PREFIX}{name}": tensor for name, tensor in self.average.items()},
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore the weights and the average. A checkpoint without an average starts a new one."""
        if TRAINED_ON in checkpoint:
            self.steps = checkpoint[TRAINED_ON]["steps"]
            current = tensors_of(pl_module)
            self.average = {name: tensor.clone() for name, tensor in current.items()}
            for name, tensor in checkpoint[TRAINED_ON]["weights"].items():
                current[name].copy_(tensor)


def tensors_of(pl_module: LightningModule) -> dict[str, Tensor]:
    """Return the network's weights and persistent buffers, without copying them."""
    assert isinstance(pl_module, SiameseModule)
    return {name: each for name, each in pl_module.network.state_dict().items() if isinstance(each, Tensor)}
