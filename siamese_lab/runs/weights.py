"""Compare the weights in a checkpoint with the network that they are loaded into."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.runs.plain_values import shortened

PREFIX = "network."
"""Prefix of the network's weights among the weights of a run."""
SHOWN = 3
"""Number of weights that a message names."""


def weights_of_network(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights of the network in a loaded checkpoint.

    Raises:
        KeyError, AttributeError: if the checkpoint holds no weights.
    """
    return {
        name.removeprefix(PREFIX): weight
        for name, weight in content["state_dict"].items()
        if isinstance(name, str) and name.startswith(PREFIX)
    }


def check_weights(wanted: Mapping[str, Any], weights: Mapping[str, Any], checkpoint: Path) -> None:
    """Raise UserError if weights do not fit the state dict of a network, or are not finite."""
    if differing := differences(wanted, weights):
        raise UserError(
            f"The weights in {checkpoint} do not fit the network that its configuration describes: "
            f"{listed(differing)}. Either the code of the network has changed since the training, or the file mixes "
            "two checkpoints. Use the version of siamese_lab that trained it."
        )
    check_finite_weights(weights, checkpoint)


def differences(wanted: Mapping[str, Any], weights: Mapping[str, Any]) -> list[str]:
    """Return in which names, shapes and kinds of numbers weights differ from the state dict of a network, sorted."""
    return sorted(
        [
            *(f"{name} is missing" for name in wanted.keys() - weights.keys()),
            *(f"{name} is not in this network" for name in weights.keys() - wanted.keys()),
            *(
                f"{name} is {shape_of(weights[name])} instead of {shape_of(wanted[name])}"
                for name in wanted.keys() & weights.keys()
                if shape_of(weights[name]) != shape_of(wanted[name])
            ),
            *(
                f"{name} holds {weights[name].dtype} instead of {wanted[name].dtype}"
                for name in wanted.keys() & weights.keys()
                if is_other_kind(weights[name], wanted[name])
            ),
        ]
    )


def listed(differing: Sequence[str]) -> str:
    """Return the first differences as text for a message."""
    more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return "; ".join(shortened(each, 200) for each in differing[:SHOWN]) + more


def check_finite_weights(weights: Mapping[str, Any], checkpoint: Path) -> None:
    """Raise UserError if a weight is not finite."""
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


def is_other_kind(weight: Any, wanted: Any) -> bool:
    """Return whether one of two tensors holds floating-point numbers and the other one does not."""
    both = isinstance(weight, Tensor) and isinstance(wanted, Tensor)
    return both and weight.dtype != wanted.dtype and not (weight.is_floating_point() and wanted.is_floating_point())


def shape_of(state: Any) -> str:
    """Return the shape of a tensor as text for messages, or "no tensor" for any other value."""
    return "×".join(str(size) for size in state.shape) or "a number" if isinstance(state, Tensor) else "no tensor"
