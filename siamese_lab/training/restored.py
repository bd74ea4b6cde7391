"""Check a checkpoint before a run resumes from it, and name the checkpoint if its state cannot be restored."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from omegaconf import DictConfig
from torch import Tensor

from siamese_lab import data, networks
from siamese_lab.errors import UserError
from siamese_lab.runs import checkpoints
from siamese_lab.runs.plain_values import of_type, shortened
from siamese_lab.runs.weights import PREFIX, check_weights, weights_of_network
from siamese_lab.training.callbacks.weight_average import TRAINED_ON
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.optimizer_state import check_optimizer_state
from siamese_lab.training.state_form import check_finite, check_form

NOT_RESTORED = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors that a state of another form raises while it is restored."""


def check_restorable(config: DictConfig, datamodule: data.DataModule) -> dict[str, Any]:
    """Raise UserError if the weights of the checkpoint do not fit the network, before the network takes memory.

    Args:
        config: the configuration of a run that resumes.
        datamodule: the data of the run.

    Returns:
        The loaded checkpoint.
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
    with torch.device("meta"):
        wanted = networks.build(
            **config.network,
            channels=datamodule.channels,
            image_size=datamodule.image_size,
            seed=config.seed,
            initial_weights=False,
        ).state_dict()
    check_weights(wanted, weights, checkpoint)
    if isinstance(content.get(TRAINED_ON), dict):  # check_training_state refuses another value
        averaged = content[TRAINED_ON].get("weights")
        tensors = {name: each for name, each in wanted.items() if isinstance(each, Tensor)}  # as in tensors_of
        check_weights(tensors, averaged if isinstance(averaged, dict) else {}, checkpoint)
    return content


def check_training_state(content: Mapping[str, Any], module: SiameseModule, trainer: Trainer) -> None:
    """Raise WrongValueError unless the state in a checkpoint has the form of a new run. Nothing is restored or changed.

    Args:
        content: the loaded checkpoint.
        module: the module of the run.
        trainer: its trainer.
    """
    if TRAINED_ON in content:
        averaged = of_type(content[TRAINED_ON], dict, TRAINED_ON)
        check_form({**averaged, "weights": None}, {"steps": 0, "weights": None}, TRAINED_ON)
    for name, value in content["state_dict"].items():
        if isinstance(value, Tensor) and not str(name).startswith(PREFIX):  # a loss's parameters or a memory
            check_finite(value, shortened(str(name)))
    check_optimizer_state(module, content["optimizer_states"][0], content["lr_schedulers"][0])
    loops = of_type(content.get("loops"), dict, "loops")
    check_form(without_state(loops.get("fit_loop")), without_state(trainer.fit_loop.state_dict()), "loops.fit_loop")


def without_state(loop: Any) -> Any:
    """Return the state of a loop without the position in the data, which the data set checks."""
    return {key: value for key, value in loop.items() if key != "state_dict"} if isinstance(loop, Mapping) else loop


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
