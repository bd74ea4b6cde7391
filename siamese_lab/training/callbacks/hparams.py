"""The hyperparameters of a run, by which TensorBoard's HPARAMS tab compares the runs of a sweep."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from torch.utils.tensorboard.summary import hparams

from siamese_lab.training.callbacks.tensorboard import event_writer

SHARED_OPTIONS = {"name", "margin", "distance", "num_negatives"}
"""Sampler options that follow the loss, or that every strategy has. They are not listed per strategy."""


class HParamsSummary(Callback):
    """Writes the hyperparameters when a run starts, and a success mark when its training ends without an error.

    The HPARAMS tab takes the metrics from the scalars that the run logs anyway, such as `test/recall@1`.

    Args:
        config_values: the whole configuration, as plain values.
        folder: the folder of the run; its last three parts name the run.
    """

    def __init__(self, config_values: Mapping[str, Any], folder: Path) -> None:
        self.config_values = config_values
        self.name = "/".join(folder.absolute().parts[-3:])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the hyperparameters; a resumed run writes the same ones again."""
        values = comparable_options(self.config_values, trainer.datamodule.protocol)  # type: ignore[attr-defined]
        for logger in trainer.loggers:
            logger.log_hyperparams(values)  # they end up in the logger's hparams.yaml
        writer = event_writer(trainer)
        if writer is not None:
            writer.file_writer.add_summary(hparams_pb(values, trial_id=self.name))  # type: ignore[attr-defined]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write that training ended without an error."""
        writer = event_writer(trainer)
        if writer is not None:
            _, _, success = hparams({}, {})
            writer.file_writer.add_summary(success)  # type: ignore[attr-defined]


def comparable_options(config_values: Mapping[str, Any], protocol: str | None) -> dict[str, Any]:
    """Return the options by which runs are compared, without options that the data set, loss or strategy lacks.

    Args:
        config_values: the whole configuration, as plain values.
        protocol: the data set's protocol, as returned by `DataModule.protocol`.
    """
    data, sampler = config_values["data"], config_values["sampler"]
    options = {
        "data": data["name"],
        "protocol": protocol,
        "sampler": sampler["name"],
        "loss": config_values["loss"]["name"],
        "margin": config_values["loss"].get("margin"),
        "network": config_values["network"]["name"],
        "optimizer": config_values["optimizer"]["name"],
        "lr": config_values["optimizer"].get("lr"),
        "steps": config_values["trainer"]["max_steps"],
        "seed": config_values["seed"],
        "tuned": True if config_values.get("tuned") else None,
        **{f"sampler.{option}": sampler[option] for option in sorted(sampler.keys() - SHARED_OPTIONS)},
    }
    return {name: value for name, value in options.items() if isinstance(value, (bool, int, float, str))}
