"""What a run chose, so that TensorBoard's HPARAMS tab compares the runs of a sweep by it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from torch.utils.tensorboard.summary import hparams

from siamese_lab.training.callbacks.event_writer import event_writer

OF_ALL = {"name", "margin", "distance", "negatives"}
"""Options of a strategy that are not its own, but the loss's or every strategy's."""


class ComparableChoices(Callback):
    """Writes them as the run begins, and, as its training ends well, that it did.

    The figures beside them are the scalars that the run logs anyway, such as `test/recall@1`.

    Args:
        choices: the whole configuration, as plain values.
        folder: of the run, the end of which is the run's name.
    """

    def __init__(self, choices: Mapping[str, Any], folder: Path) -> None:
        self.choices = choices
        self.name = "/".join(folder.absolute().parts[-3:])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the choices; a resumed run writes the same again."""
        values = comparable(self.choices, trainer.datamodule.protocol)  # type: ignore[attr-defined]
        for logger in trainer.loggers:
            logger.log_hyperparams(values)  # which is what its hparams.yaml then says
        writer = event_writer(trainer)
        if writer is not None:
            writer._get_file_writer().add_summary(hparams_pb(values, trial_id=self.name))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write that training ended."""
        writer = event_writer(trainer)
        if writer is not None:
            _, _, success = hparams({}, {})
            writer._get_file_writer().add_summary(success)


def comparable(choices: Mapping[str, Any], protocol: str | None) -> dict[str, Any]:
    """Return what runs are compared by, without what a data set, a loss or a strategy does not have.

    Args:
        choices: the whole configuration, as plain values.
        protocol: of the data set, as `DataModule.protocol` names it.
    """
    images, sampler = choices["data"], choices["sampler"]
    named = {
        "data": images["name"],
        "protocol": protocol,
        "sampler": sampler["name"],
        "loss": choices["loss"]["name"],
        "margin": choices["loss"].get("margin"),
        "network": choices["network"]["name"],
        "optimizer": choices["optimizer"]["_target_"].rsplit(".", 1)[-1],
        "lr": choices["optimizer"].get("lr"),
        "steps": choices["trainer"]["max_steps"],
        "seed": choices["seed"],
        "tuned": True if choices.get("tuned") else None,
        **{f"sampler.{option}": sampler[option] for option in sorted(sampler.keys() - OF_ALL)},
    }
    return {name: value for name, value in named.items() if isinstance(value, (bool, int, float, str))}
