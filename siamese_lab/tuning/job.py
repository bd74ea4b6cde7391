"""The tuning of one strategy on one data set: its trials, and the winner into tuned.json."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from siamese_lab.config import schema
from siamese_lab.errors import UserError
from siamese_lab.runs import environment
from siamese_lab.runs.disk import disk_errors
from siamese_lab.runs.display import print_plainly
from siamese_lab.runs.tuned import Trial, Tuned
from siamese_lab.sweep.job import Train
from siamese_lab.training.callbacks import Interrupted
from siamese_lab.tuning import trials
from siamese_lab.tuning.messages import told
from siamese_lab.tuning.search import search
from siamese_lab.tuning.space import as_shipped, space_of


def run(train: Train, config: DictConfig, folder: Path, overrides: Sequence[str], console: Console) -> None:
    """Make the trials that are left, and write the winner. A failure ends this tuning, not the other tunings.

    Args:
        train: does all of a run but its test, or from `config.resume` on.
        config: of the tuning.
        folder: of the tuning, whose last two parts are data set and strategy.
        overrides: its command line.
        console: where a line for each trial goes.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM.
        Exception: any bug, so that the command ends with its traceback.
    """
    try:
        with disk_errors(folder, "paths.outputs"):
            tune(train, config, folder, overrides, console)
    except Interrupted:
        raise
    except Exception as error:
        print(f"{'/'.join(folder.parts[-2:])} was not tuned: {error}", file=sys.stderr)
        if not isinstance(error, UserError):
            raise


def tune(train: Train, config: DictConfig, folder: Path, overrides: Sequence[str], console: Console) -> Tuned:
    """Tune as `run` does.

    Raises:
        UserError: for a search space of no meaning, a trial that failed by a missing resource, shipped options that
            fail before training, or trials that all failed.
        Exception: any bug in a trial.
    """
    every: list[Trial] = []

    def score_of(number: int, options: dict[str, Any]) -> float | None:
        place = folder / f"trial={number}"
        done_before = trials.is_done(place)
        every.append(trials.make(train, config, place, overrides, options))
        if not done_before:
            print_plainly(console, told(folder, every, config.tuning.trials))
        return every[-1].score

    space = space_of(config)
    search(space, config.tuning.trials, config.seed, as_shipped(config, space), score_of)
    tuned = won(config, folder, every)
    tuned.write(folder)
    return tuned


def won(config: DictConfig, folder: Path, every: list[Trial]) -> Tuned:
    """The record of a tuning that is done."""
    scored = [(trial.score, -trial.number, trial) for trial in every if trial.score is not None]
    if not scored:
        raise UserError(f"all {len(every)} trials have failed, the last one by {every[-1].error}")
    score, _, winner = max(scored)
    data, sampler = folder.parts[-2:]
    return Tuned(
        data=data,
        sampler=sampler,
        options=winner.options,
        score=score,
        metric=config.tuning.metric,
        trials=len(every),
        every_trial=every,
        choices=schema.to_plain(config),
        versions=environment.versions(),
        commit=environment.commit(),
    )
