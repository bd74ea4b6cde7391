"""The choices of a run, kept in its checkpoints: `resume=PATH` and `siamese_lab.evaluate` need nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning import Callback

from siamese_lab.runs.checkpoints import CONFIG_FORMAT, CONFIG_KEY


class StoredChoices(Callback):
    """Writes the command line, and the configuration that was composed from it, into every checkpoint.

    Args:
        overrides: of the command line, such as ["sampler=hard", "seed=1"].
        choices: the whole configuration, as plain values.
    """

    def __init__(self, overrides: Sequence[str], choices: Mapping[str, Any]) -> None:
        self.overrides = list(overrides)
        self.choices = dict(choices)

    @property
    def state_key(self) -> str:
        """Return the key of this state among the callbacks of a checkpoint."""
        return CONFIG_KEY

    def state_dict(self) -> dict[str, Any]:
        """What goes into the checkpoint."""
        return {"format": CONFIG_FORMAT, "overrides": self.overrides, "choices": self.choices}
