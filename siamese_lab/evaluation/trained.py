"""Load the network of a checkpoint: build it from the stored configuration, then load its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from siamese_lab import data, networks
from siamese_lab.data.io.messages import announce
from siamese_lab.errors import UserError
from siamese_lab.evaluation.stored_config import (
    check_choices,
    stored_cache,
    with_found_options,
    without_written_folders,
)
from siamese_lab.runs import checkpoints, results
from siamese_lab.runs.checkpoints import stored_choices
from siamese_lab.runs.classes import ClassParts
from siamese_lab.runs.plain_values import WrongValueError, of_type, shortened
from siamese_lab.runs.weights import check_weights, weights_of_network

NEEDED = ("data", "network", "paths", "seed")
"""Keys that the stored configuration must have."""


class Trained(NamedTuple):
    """A trained network, with the configuration, the step and the file that it comes from."""

    network: networks.SiameseNetwork
    choices: dict[str, Any]
    """Whole configuration of the training, as plain values."""
    step: int
    checkpoint: Path
    classes: ClassParts | None = None
    """The classes of each part of the training; None in earlier checkpoints, which stored no classes."""

    def build_datamodule(self) -> data.DataModule:
        """Build the data module of the training, with the classes of the training in each part. It loads no image."""
        datamodule = data.build(**self.choices["data"], seed=self.choices["seed"])
        if self.classes is not None:
            datamodule.keep_parts(self.classes)
        return datamodule


def load(path: Path) -> Trained:
    """Load the trained network of a checkpoint, or of a run folder.

    Raises:
        UserError: if the file is not a checkpoint of siamese_lab, is incomplete, or contains code that loading would
            execute. Also if its configuration does not fit this version, its weights do not fit the network that the
            configuration describes, or a weight is not finite.
    """
    checkpoint = checkpoints.find_checkpoint(path)
    content = checkpoints.read_checkpoint(checkpoint)
    stored = choices_of(content, checkpoint)
    if (cache := stored_cache(stored)) is not None:
        announce(
            f"The training kept decoded images in {shortened(cache)}. A checkpoint does not decide where files are "
            "written, so the user's cache is used, or the folder in paths.cache."
        )
    try:
        choices = with_found_options(without_written_folders(stored), content)
    except WrongValueError as error:
        raise UserError(f"{checkpoint} is damaged: {error}. Use another checkpoint of the run.") from error
    try:
        weights = weights_of_network(content)
        step = of_type(content["global_step"], int, "global_step")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{checkpoint} is incomplete: it lacks {error}. A checkpoint of siamese_lab holds weights, the step and "
            "the configuration. Use another checkpoint of the run."
        ) from error
    network = build_network(choices, weights, checkpoint)
    network.load_state_dict(weights)
    return Trained(network, choices, step, checkpoint, checkpoints.stored_classes(content))


def choices_of(content: Mapping[str, Any], checkpoint: Path) -> dict[str, Any]:
    """Return the configuration of a checkpoint's training: from the checkpoint, or else from its run's results.

    Raises:
        UserError: if there is no configuration, or it lacks a part that the network is built from.
    """
    choices = stored_choices(content)
    run = checkpoints.run_of(checkpoint)
    if choices is None and run is not None:
        choices = results.read_results(run).choices
    if choices is None:
        raise UserError(
            f"{checkpoint} holds weights but not the configuration of their training, and there is no "
            f"{results.FILE_NAME} in the folder above it. Move the checkpoint back to the checkpoints/ folder of its "
            "run, or train again with this version."
        )
    if lacking := [name for name in NEEDED if name not in choices or is_unnamed(name, choices[name])]:
        raise UserError(
            f"{checkpoint} is incomplete: its configuration lacks {', '.join(lacking)}. "
            "Use another checkpoint of the run."
        )
    try:
        check_choices(choices)
    except WrongValueError as error:
        raise UserError(
            f"The configuration in {checkpoint} cannot come from a run of siamese_lab: {error}. "
            "Use another checkpoint of the run."
        ) from error
    return choices


def is_unnamed(group: str, options: Any) -> bool:
    """Return True if the options of `data` or `network` do not contain a name."""
    return group in ("data", "network") and not (isinstance(options, Mapping) and "name" in options)


def build_network(choices: Mapping[str, Any], weights: Mapping[str, Any], checkpoint: Path) -> networks.SiameseNetwork:
    """Build the network that a configuration describes, once the weights are known to fit it.

    The network is first built without memory, so that a file cannot ask for more memory than its weights have.

    Raises:
        UserError: if the configuration cannot be built, or if the weights do not fit it or are not finite.
    """
    try:
        check_weights(state_without_memory(choices), weights, checkpoint)
        return network_of(choices)
    except (TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"The network that the configuration in {checkpoint} describes cannot be built: "
            f"{shortened(str(error), 200)}. Use another checkpoint of the run."
        ) from error


def state_without_memory(choices: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state dict of the network that a configuration describes, with tensors that have a shape only."""
    with torch.device("meta"):
        return network_of(choices).state_dict()


def network_of(choices: Mapping[str, Any]) -> networks.SiameseNetwork:
    """Build the network that a configuration describes, for the image size and channels of its data set."""
    datamodule = data.build(**choices["data"], seed=choices["seed"])
    return networks.build(
        **choices["network"],
        channels=datamodule.channels,
        image_size=datamodule.image_size,
        seed=choices["seed"],
        initial_weights=False,
    )
