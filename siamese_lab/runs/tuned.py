"""tuned.json: the trials of tuning one strategy on one data set, and the best options."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from siamese_lab.errors import UserError
from siamese_lab.runs.files import write_json
from siamese_lab.runs.migrations import TUNED, UnknownVersionError, migrate
from siamese_lab.runs.options import recorded
from siamese_lab.runs.plain_values import OtherFieldsError, WrongValueError, build_record, of_type, read_json

SCHEMA_VERSION = 2
"""Increase it when the meaning of a field changes, and add a step to `migrations.TUNED`."""
FILE_NAME = "tuned.json"


@dataclass
class Trial:
    """One trial: a training run with candidate options, and its score."""

    number: int
    options: dict[str, Any]
    """Options by dotted names, such as `optimizer.lr`."""
    status: Literal["finished", "failed", "pruned"]
    """"failed" if the options made training fail, for example with a loss that is not finite; "pruned" if a trial ended
    early because it lagged behind others.
    """
    score: float | None
    """The score on validation images; None unless the trial finished."""
    error: str | None
    seconds: float | None


@dataclass
class Tuned:
    """The record of a tuning: all trials and the best options."""

    data: str
    """Name on the command line, such as `mnist_closed`."""
    sampler: str
    options: dict[str, Any]
    """Options of the best trial; the first of equally good trials."""
    score: float
    metric: str
    """Name of the validation metric that scores the trials."""
    trials: int
    every_trial: list[Trial]
    choices: dict[str, Any]
    """Whole configuration that the trials vary, as in `Results`."""
    versions: dict[str, str]
    commit: str | None
    schema_version: int = SCHEMA_VERSION

    def write(self, folder: Path) -> Path:
        """Write tuned.json into the folder of the trials atomically, and return its path."""
        return write_json(folder / FILE_NAME, asdict(self))


def read_tuned(folder: Path) -> Tuned:
    """Read tuned.json from the folder of a tuning. Every field has its declared type.

    Raises:
        FileNotFoundError, NotADirectoryError: if the tuning has not finished.
        UserError: if the file cannot be read, is damaged, breaks a bound of `runs.plain_values`, or another version
            wrote it.
    """
    path = folder / FILE_NAME
    try:
        content = read_json(path)
        if not isinstance(content, dict):
            raise UserError(f"{path} was written by another version of siamese_lab. Tune again in another folder.")
        content = migrate(content, content.get("schema_version"), SCHEMA_VERSION, TUNED)
        content["schema_version"] = SCHEMA_VERSION
        tuned = build_record(Tuned, content)
        if not isinstance(tuned.choices.get("trainer"), dict) or "max_steps" not in tuned.choices["trainer"]:
            raise WrongValueError("choices.trainer.max_steps is missing")
        of_type(tuned.choices["trainer"]["max_steps"], int, "choices.trainer.max_steps")
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Delete it and tune again.") from error
    except UnknownVersionError as error:
        raise UserError(
            f"{path} was written by another version of siamese_lab. Tune again in another folder. (It has schema "
            f"version {error}.)"
        ) from error
    except OtherFieldsError as error:
        raise UserError(f"{path} was written by another version of siamese_lab: {error}.") from error
    except WrongValueError as error:
        raise UserError(
            f"{path} is damaged, or siamese_lab did not write it: {error}. Delete the file and tune again: finished "
            "trials are kept."
        ) from error
    tuned.choices = recorded(tuned.choices)
    return tuned
