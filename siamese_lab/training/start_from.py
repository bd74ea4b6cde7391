"""Start a run with the network of another run: after training on other data, or with another loss."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pooch
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.networks import SiameseNetwork
from siamese_lab.runs import checkpoints
from siamese_lab.runs.checkpoints import stored_choices
from siamese_lab.runs.options import flatten
from siamese_lab.runs.plain_values import shortened
from siamese_lab.runs.weights import check_finite_weights, differences, listed, weights_of_network

BACKBONE, HEAD = "backbone.", ("embed.", "batch_norm.")
"""Beginnings of the names of weights: of the backbone, and of the layers after it."""
OF_NO_WEIGHT = {
    *("batch_norm", "dropout", "embedding_dim", "head_lr", "layer_decay", "normalize", "tta"),
    *("freeze", "freeze_batch_norm", "gradient_checkpointing", "pretrained", "weights"),
}
"""Options of the network that change no weight of the backbone."""


class Start(NamedTuple):
    """Says which weights a run started with."""

    checkpoint: Path
    step: int
    """Step of the other run."""
    sha256: str
    """SHA-256 of the file."""
    head_misfit: str | None
    """Why the layers after the backbone keep their own initial weights; None if they come from the other run too."""

    def recorded(self) -> dict[str, Any]:
        """Return the values that results.json stores."""
        return {
            "checkpoint": str(self.checkpoint),
            "step": self.step,
            "sha256": self.sha256,
            "layers": "all" if self.head_misfit is None else "backbone",
        }

    def described(self) -> str:
        """Return a sentence for the user."""
        named = f"step {self.step:,} of {shortened(str(self.checkpoint))}"
        if self.head_misfit is None:
            return f"Starts with the network of {named}."
        return f"Starts with the backbone of {named}. The embedding layer starts anew, because {self.head_misfit}."


def start_from(network: SiameseNetwork, place: Path, options: Mapping[str, Any]) -> Start:
    """Load the weights of another run into a network that has not been trained.

    The layers after the backbone keep their own initial weights if those of the other run have another shape.

    Args:
        network: the network of the run that begins. It is changed.
        place: a checkpoint, or the folder of a run, which stands for the weights that the run reports.
        options: the options of the network, for messages.

    Raises:
        UserError: if there is no checkpoint of siamese_lab, if the weights of its backbone do not fit, or if a weight
            is not finite. The network is unchanged then.
    """
    checkpoint = checkpoints.find_checkpoint(place)
    content = checkpoints.read_checkpoint(checkpoint)
    choices = stored_choices(content) or {}  # refuses other files
    try:
        every, step = weights_of_network(content), int(content["global_step"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{checkpoint} is incomplete: it holds no weights. Use another checkpoint.") from error
    given = {name: each for name, each in every.items() if isinstance(each, Tensor)}
    wanted = {name: each for name, each in network.state_dict().items() if isinstance(each, Tensor)}
    if misfits := differences(of_layers(wanted, BACKBONE), of_layers(given, BACKBONE)):
        raise UserError(f"start_from={place} cannot start this run: {explained(misfits, options, choices)}")
    head_misfits = differences(of_layers(wanted, HEAD), of_layers(given, HEAD))
    taken = of_layers(given, BACKBONE) | ({} if head_misfits else of_layers(given, HEAD))
    check_finite_weights(taken, checkpoint)
    network.load_state_dict(taken, strict=False)
    sha256 = pooch.file_hash(str(checkpoint), alg="sha256")
    return Start(checkpoint, step, sha256, head_misfits[0] if head_misfits else None)


def of_layers(weights: Mapping[str, Tensor], beginnings: str | tuple[str, ...]) -> dict[str, Tensor]:
    """Return the weights with names that begin so."""
    return {name: each for name, each in weights.items() if name.startswith(beginnings)}


def explained(misfits: Sequence[str], options: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    """Return why the backbone of the other run does not fit, and which options of the network to set."""
    theirs = choices.get("network")
    theirs = flatten(theirs) if isinstance(theirs, Mapping) else {}
    differing = [name for name in theirs if name not in OF_NO_WEIGHT and theirs[name] != options.get(name)]
    if not differing:
        return (
            f"the networks have the same options, but {listed(misfits)}. The images of the two runs may differ in "
            "their number of channels or in their size."
        )
    chosen = (f"network{'' if name == 'name' else f'.{name}'}={shortened(str(theirs[name]))}" for name in differing)
    return f"its network has another backbone. Set {' '.join(chosen)}, as in its training."
