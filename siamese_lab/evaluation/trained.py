"""The network of a checkpoint, rebuilt from the choices that are stored beside its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from siamese_lab import data, networks
from siamese_lab.errors import UserError
from siamese_lab.runs import checkpoints, results
from siamese_lab.runs.checkpoints import stored_choices

PREFIX = "network."
NEEDED = ("data", "network", "paths", "seed")
"""Of the choices."""
SHOWN = 3
"""How many names of weights a message lists."""


class Trained(NamedTuple):
    """A network, and how it came to be."""

    network: networks.SiameseNetwork
    choices: dict[str, Any]
    """The whole configuration of its training."""
    step: int
    checkpoint: Path

    def images(self) -> data.DataModule:
        """The data it was trained on, of which nothing is loaded yet."""
        return data.build(**self.choices["data"], seed=self.choices["seed"])


def load(place: Path) -> Trained:
    """The trained network in a checkpoint, or in the folder of a run.

    Raises:
        UserError: for what is no checkpoint of the lab's, is not whole, or would have to be executed; for choices
            that this version does not have, weights of another network than these describe, and weights that are not
            finite.
    """
    checkpoint = checkpoints.find_checkpoint(place)
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
            f"{checkpoint} is not whole: it lacks {error}. A run of siamese_lab stores weights, steps and choices."
        ) from error
    network = network_of(choices)
    fill(network, weights, checkpoint)
    return Trained(network, choices, step, checkpoint)


def choices_of(content: Mapping[str, Any], checkpoint: Path) -> dict[str, Any]:
    """The choices that a checkpoint was trained with; of one that lacks them, those its run recorded beside it.

    Raises:
        UserError: if there are none, or not those that a network is rebuilt from.
    """
    choices = stored_choices(content)
    run = checkpoints.run_of(checkpoint)
    if choices is None and run is not None:
        choices = results.read_results(run).choices
    if choices is None:
        raise UserError(
            f"{checkpoint} holds weights but not the choices they were trained with, and no {results.FILE_NAME} lies "
            "in the folder above its own. Leave it in the folder of its run, or train again with this version."
        )
    if lacking := [name for name in NEEDED if name not in choices or is_unnamed(name, choices[name])]:
        raise UserError(
            f"{checkpoint} is not whole: the choices in it lack {', '.join(lacking)}. "
            "Use another of its run's checkpoints."
        )
    return choices


def is_unnamed(group: str, options: Any) -> bool:
    """Return whether the options of a group of parts do not say which part they are of."""
    return group in ("data", "network") and not (isinstance(options, Mapping) and "name" in options)


def network_of(choices: Mapping[str, Any]) -> networks.SiameseNetwork:
    """The network that these choices describe, for images as its data set makes them."""
    images = data.build(**choices["data"], seed=choices["seed"])
    return networks.build(
        **choices["network"], channels=images.channels, image_size=images.image_size, seed=choices["seed"]
    )


def fill(network: networks.SiameseNetwork, weights: Mapping[str, Any], checkpoint: Path) -> None:
    """Put weights into a network.

    Raises:
        UserError: if they are of another network, or not finite.
    """
    wanted = network.state_dict()
    differing = [
        *(f"{name} is missing" for name in wanted.keys() - weights.keys()),
        *(f"{name} is not in that network" for name in weights.keys() - wanted.keys()),
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
            f"The weights in {checkpoint} are not of the network that its choices describe: {listed}{more}. "
            "Its network's code has changed since, or the file was put together from two: "
            "use the version that trained it."
        )
    broken = [
        name
        for name, each in weights.items()
        if isinstance(each, Tensor) and each.is_floating_point() and not torch.isfinite(each).all()
    ]
    if broken:
        raise UserError(
            f"The weights in {checkpoint} are not finite, in {len(broken)} of {len(weights)} tensors such as "
            f"{broken[0]}: its training diverged. Use an earlier checkpoint, or train again with a lower optimizer.lr."
        )
    network.load_state_dict(weights)


def shape_of(state: Any) -> str:
    """As it is written in messages; of what is not a tensor, its kind."""
    return "×".join(str(size) for size in state.shape) or "a number" if isinstance(state, Tensor) else "no tensor"
