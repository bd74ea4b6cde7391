"""The command line a run was started with, kept in its checkpoints so that `resume=PATH` needs nothing else."""

from collections.abc import Sequence
from typing import Any

from lightning import Callback


class StoredChoices(Callback):
    """Writes the overrides of the command line into every checkpoint.

    Args:
        overrides: such as ["sampler=hard", "seed=1"].
    """

    def __init__(self, overrides: Sequence[str]) -> None:
        self.overrides = list(overrides)

    def state_dict(self) -> dict[str, Any]:
        """What goes into the checkpoint."""
        return {"overrides": self.overrides}


def stored_overrides(checkpoint: dict[str, Any]) -> list[str]:
    """The overrides in a loaded checkpoint.

    Raises:
        ValueError: if the lab did not write it.
    """
    try:
        return list(checkpoint["callbacks"][StoredChoices.__qualname__]["overrides"])
    except (KeyError, TypeError) as error:
        raise ValueError("The checkpoint was not written by a run of siamese_lab, so it cannot be resumed.") from error
