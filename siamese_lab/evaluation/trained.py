"""Load the network of a checkpoint: build it from the stored configuration, then load its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from siamese_lab import data, networks
from siamese_lab.errors import UserError
from siamese_lab.runs import checkpoints, results
from siamese_lab.runs.checkpoints import stored_choices
from siamese_lab.runs.classes import ClassParts

PREFIX = "network."
NEEDED = ("data", "network", "paths", "seed")
"""Keys that the stored configuration must have."""
SHOWN = 3
"""Number of weights that a message names."""


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
    choices = choices_of(content, checkpoint)
    try:
        weights = {
            name.removeprefix(PREFIX): tensor
            for name, tensor in content["state_dict"].items()
            if name.startswith(PREFIX)
        }
        step = int(content["global_step"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{checkpoint} is incomplete: it lacks {error}. A checkpoint of siamese_lab holds weights, the step and "
            "the configuration. Use another checkpoint of the run."
        ) from error
    network = network_of(choices)
    load_weights(network, weights, checkpoint)
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
    return choices


def is_unnamed(group: str, options: Any) -> bool:
    """Return True if the options of `data` or `network` do not contain a name."""
    return group in ("data", "network") and not (isinstance(options, Mapping) and "name" in options)


def network_of(choices: Mapping[str, Any]) -> networks.SiameseNetwork:
    """Build the network that a configuration describes, for the image size and channels of its data set."""
    datamodule = data.build(**choices["data"], seed=choices["seed"])
    return networks.build(
        **choices["network"], channels=datamodule.channels, image_size=datamodule.image_size, seed=choices["seed"]
    )


def load_weights(network: networks.SiameseNetwork, weights: Mapping[str, Any], checkpoint: Path) -> None:
    """Load weights into a network.

    Raises:
        UserError: if the weights do not fit the network, or are not finite.
    """
    wanted = network.state_dict()
    differing = [
        *(f"{name} is missing" for name in wanted.keys() - weights.keys()),
        *(f"{name} is not in this network" for name in weights.keys() - wanted.keys()),
        *(
            f"{name} is {shape_of(weights[name])} instead of {shape_of(wanted[name])}"
            for name in wanted.keys() & weights.keys()
            if shape_of(weights[name]) != shape_of(wanted[name])
        ),
    ]
    if differing:
        listed = "; ".join(sorted(differing)[:SHOWN])
        more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise UserError(
            f"The weights in {checkpoint} do not fit the network that its configuration describes: {listed}{more}. "
            "Either the code of the network has changed since the training, or the file mixes two checkpoints. "
            "Use the version of siamese_lab that trained it."
        )
    broken = [
        name
        for name, each in weights.items()
        if isinstance(each, Tensor) and each.is_floating_point() and not torch.isfinite(each).all()
    ]
    if broken:
        raise UserError(
            f"{len(broken)} of {len(weights)} weight tensors in {checkpoint} are not finite, such as {broken[0]}, so "
            "the training diverged. Use an earlier checkpoint, or train again with a lower optimizer.lr."
        )
    network.load_state_dict(weights)


def shape_of(state: Any) -> str:
    """Return the shape of a tensor as text for messages, or "no tensor" for any other value."""
    return "×".join(str(size) for size in state.shape) or "a number" if isinstance(state, Tensor) else "no tensor"
