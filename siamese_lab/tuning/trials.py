"""One trial: a run in a folder of its own, made, gone on with, or, if it has been made, read."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from siamese_lab import checkpoints, choices
from siamese_lab import sweep as sweeps
from siamese_lab.errors import UserError
from siamese_lab.study import results
from siamese_lab.study.results import Results
from siamese_lab.study.tuned import Trial
from siamese_lab.sweep.job import Train
from siamese_lab.sweep.left import check_same
from siamese_lab.winners import with_options

OF_THE_OPTIONS = (FloatingPointError.__name__, ValueError.__name__)
"""Failures that are a trial's own where training had begun: a loss that is not finite, or embeddings that are zero.

All others are the machine's or the user's.
"""


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
    """
    run = with_options(config, options)
    run.tuning = None
    if not is_done(place):
        place.mkdir(parents=True, exist_ok=True)
        sweeps.run(train, run, place, [*overrides, *(f"{name}={value}" for name, value in options.items())])
    left = read(place)
    check_same(place, left.choices, choices.plain(run))
    if not is_done(place):
        raise UserError(f"{place} has failed: {left.error or left.status}. The same command goes on from there.")
    shutil.rmtree(place / checkpoints.FOLDER, ignore_errors=True)
    return recorded(left, int(place.name.split("=")[1]), options, config.tuning.metric)


def is_done(place: Path) -> bool:
    """Whether a trial has finished, or failed by its options, so that it would do so again."""
    try:
        left = results.read(place)
    except (OSError, ValueError):
        return False
    own = left.status == "failed" and left.steps > 0 and (left.error or "").startswith(OF_THE_OPTIONS)
    return left.status == "finished" or own


def read(place: Path) -> Results:
    """The results of a trial that was made."""
    try:
        return results.read(place)
    except OSError as error:
        raise UserError(f"{place} has left no results ({error.strerror}). The same command makes it again.") from error


def recorded(left: Results, number: int, options: Mapping[str, Any], metric: str) -> Trial:
    """What a run came to as a trial."""
    if left.status == "failed":
        return Trial(number, dict(options), "failed", None, left.error, None)
    score = left.validation.get(metric)
    if score is None:
        known = ", ".join(name for name, value in left.validation.items() if value is not None)
        raise UserError(f"tuning.metric={metric} is no figure of the validation images. There are: {known}.")
    return Trial(number, dict(options), "finished", score, None, left.seconds.get("total"))
