"""Run or resume one trial in its own folder, or read its results if it is done."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from siamese_lab import sweep as sweeps
from siamese_lab.config import schema
from siamese_lab.config.tuned_options import with_options
from siamese_lab.errors import ResourceError, UserError, fault_of
from siamese_lab.runs import checkpoints, results
from siamese_lab.runs.results import Results
from siamese_lab.runs.tuned import Trial
from siamese_lab.sweep.job import Train
from siamese_lab.sweep.resume_state import check_same

AS_SHIPPED = 0
"""The number of the trial that tries the shipped options."""


def make(train: Train, config: DictConfig, place: Path, overrides: Sequence[str], options: Mapping[str, Any]) -> Trial:
    """The trial of some options, in a folder of its own.

    Its weights are deleted when it is finished, as only its score is wanted.

    Args:
        train: does all of a run but its test, or from `config.resume` on.
        config: of the tuning.
        place: the folder, called `trial=NUMBER`.
        overrides: the command line of the tuning.
        options: to try.

    Raises:
        UserError: if it failed, but not by its options; or if its folder holds another run.
        Interrupted: by Ctrl-C or SIGTERM.
        Exception: any bug, with its traceback.
    """
    run = with_options(config, options)
    run.tuning = None
    if not is_done(place):
        place.mkdir(parents=True, exist_ok=True)
        error = sweeps.run(train, run, place, [*overrides, *(f"{name}={value}" for name, value in options.items())])
        if error is not None and fault_of(error) == "bug":
            raise error
    left = read(place)
    check_same(place, left.choices, schema.to_plain(run))
    if not is_done(place):
        raise UserError(f"{place} has failed: {left.error or left.status}. The same command goes on from there.")
    shutil.rmtree(place / checkpoints.FOLDER, ignore_errors=True)
    return recorded(left, number_of(place), options, config.tuning.metric)


def is_done(place: Path) -> bool:
    """Return whether a trial finished or failed by its options, so that it would fail again.

    A trial with the shipped options that fails before training fails by what all trials share, such as the data.
    """
    try:
        left = results.read(place)
    except (OSError, UserError):
        return False
    began = left.steps > 0 or number_of(place) != AS_SHIPPED
    return left.status == "finished" or (left.status == "failed" and left.fault == "options" and began)


def number_of(place: Path) -> int:
    """Return the number of the trial in a folder."""
    return int(place.name.split("=")[1])


def read(place: Path) -> Results:
    """The results of a trial that was made."""
    try:
        return results.read(place)
    except OSError as error:
        raise ResourceError(
            f"{place} has left no results ({error.strerror}). The same command makes it again."
        ) from error


def recorded(left: Results, number: int, options: Mapping[str, Any], metric: str) -> Trial:
    """What a run came to as a trial."""
    if left.status == "failed":
        return Trial(number, dict(options), "failed", None, left.error, None)
    score = left.validation.get(metric)
    if score is None:
        known = ", ".join(name for name, value in left.validation.items() if value is not None)
        raise UserError(f"tuning.metric={metric} is no figure of the validation images. There are: {known}.")
    return Trial(number, dict(options), "finished", score, None, left.seconds.get("total"))
