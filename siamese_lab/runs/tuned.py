"""tuned.json: what a tuning tried for one strategy on one data set, and which options were best."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from siamese_lab.errors import UserError
from siamese_lab.runs.files import write_json

SCHEMA_VERSION = 1
FILE_NAME = "tuned.json"


@dataclass
class Trial:
    """One training with options that were tried."""

    number: int
    options: dict[str, Any]
    """By dotted names, such as `optimizer.lr`."""
    status: Literal["finished", "failed"]
    """Failed where its options led training astray, to a loss that is not finite, say."""
    score: float | None
    error: str | None
    seconds: float | None


@dataclass
class Tuned:
    """All trials, and the winner."""

    data: str
    """As on the command line: `mnist_closed`, say."""
    sampler: str
    options: dict[str, Any]
    """Of the winner; of equally good ones, the first."""
    score: float
    metric: str
    """Of validation images, by name."""
    trials: int
    every_trial: list[Trial]
    choices: dict[str, Any]
    """The whole configuration that the trials vary."""
    versions: dict[str, str]
    commit: str | None
    schema_version: int = SCHEMA_VERSION

    def write(self, folder: Path) -> Path:
        """Write into the folder of the trials, never leaving half a file."""
        return write_json(folder / FILE_NAME, asdict(self))


def read_tuned(folder: Path) -> Tuned:
    """The tuning of a strategy, from its folder.

    Raises:
        FileNotFoundError: where it has not come to an end.
        UserError: if the file was written by another version of the schema, or not whole.
    """
    place = folder / FILE_NAME
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{place} is damaged ({error}). Delete it, and tune again: the trials are kept.") from error
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        raise UserError(f"{place} was written by another version of siamese_lab. Tune again in another folder.")
    try:
        return Tuned(**content | {"every_trial": [Trial(**trial) for trial in content["every_trial"]]})
    except (KeyError, TypeError) as error:
        raise UserError(f"{place} was written by another version of siamese_lab: {error}.") from error
