"""The choices of a run, kept in its checkpoints: `resume=PATH` and `siamese_lab.evaluate` need nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning import Callback

from siamese_lab.errors import UserError

FORMAT = 1
"""Of what is stored. Count up when a checkpoint can no longer be understood as before."""


class StoredChoices(Callback):
    """Writes the command line, and the configuration that was composed from it, into every checkpoint.

    Args:
        overrides: of the command line, such as ["sampler=hard", "seed=1"].
        choices: the whole configuration, as plain values.
    """

    def __init__(self, overrides: Sequence[str], choices: Mapping[str, Any]) -> None:
        self.overrides = list(overrides)
        self.choices = dict(choices)

    def state_dict(self) -> dict[str, Any]:
        """What goes into the checkpoint."""
        return {"format": FORMAT, "overrides": self.overrides, "choices": self.choices}


def stored_overrides(checkpoint: Mapping[str, Any]) -> list[str]:
    """The command line in a loaded checkpoint.

    Raises:
        UserError: if the lab did not write it, or another version did.
    """
    return list(_stored(checkpoint)["overrides"])


def stored_choices(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """The configuration in a loaded checkpoint; None in those that were written before it was stored.

    Raises:
        UserError: if the lab did not write it, or another version did.
    """
    choices = _stored(checkpoint).get("choices")
    return None if choices is None else dict(choices)


def _stored(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    callbacks = checkpoint.get("callbacks")
    state = callbacks.get(StoredChoices.__qualname__) if isinstance(callbacks, Mapping) else None
    if not isinstance(state, Mapping) or "overrides" not in state:
        raise UserError(
            "The checkpoint was not written by a run of siamese_lab, which stores its choices beside its weights."
        )
    if state.get("format", FORMAT) != FORMAT:
        raise UserError(
            f"The checkpoint was written by another version of siamese_lab: its choices are of format "
            f"{state['format']}, but this version reads {FORMAT}. Use it with the version that wrote it."
        )
    return state
