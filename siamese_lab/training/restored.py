"""Check a checkpoint before a run resumes from it, and name the checkpoint if its state cannot be restored."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from siamese_lab import data, networks
from siamese_lab.errors import UserError
from siamese_lab.runs import checkpoints
from siamese_lab.runs.plain_values import shortened
from siamese_lab.runs.weights import check_weights, weights_of_network

NOT_RESTORED = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors that a state of another form raises while it is restored."""


def check_restorable(config: DictConfig, datamodule: data.DataModule) -> None:
    """Raise UserError if the weights of the checkpoint do not fit the network, before the network takes memory.

    Args:
        config: the configuration of a run that resumes.
        datamodule: the data of the run.
    """
    checkpoint = Path(config.resume)
    content = checkpoints.read_checkpoint(checkpoint)
    try:
        weights = weights_of_network(content)
    except (KeyError, AttributeError) as error:
        raise UserError(f"{checkpoint} is incomplete: it holds no weights. Use another checkpoint.") from error
    for part in ("optimizer_states", "lr_schedulers"):  # Lightning resumes without them, and says nothing
        if not isinstance(content.get(part), list) or len(content[part]) != 1:
            raise UserError(f"{checkpoint} is incomplete: {part} must hold one state. Use another checkpoint.")
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that pretrained weights are not copied
        wanted = networks.build(
            **config.network, channels=datamodule.channels, image_size=datamodule.image_size, seed=config.seed
        ).state_dict()
    check_weights(wanted, weights, checkpoint)


class TrainingStart(Callback):
    """Notes that training has begun, so that everything is restored. It comes first in the list of callbacks."""

    def __init__(self) -> None:
        self.has_begun = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the start."""
        self.has_begun = True


@contextmanager
def restoring(checkpoint: str | None, start: TrainingStart) -> Iterator[None]:
    """Name the checkpoint if the block fails before training begins, because its state has another form.

    Raises:
        UserError: in place of such an error.
    """
    try:
        yield
    except NOT_RESTORED as error:
        if checkpoint is None or start.has_begun or isinstance(error, UserError):
            raise
        raise UserError(
            f"{checkpoint} cannot be resumed, because its state does not fit this run "
            f"({type(error).__name__}: {shortened(str(error), 200)}). Use another checkpoint of the run."
        ) from error
