"""Tune one strategy on one data set: run the trials and write tuned.json."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from siamese_lab.config import schema
from siamese_lab.errors import FullDiskError, Interrupted, UserError
from siamese_lab.runs import environment
from siamese_lab.runs.disk import disk_errors
from siamese_lab.runs.display import print_plainly
from siamese_lab.runs.tuned import Trial, Tuned
from siamese_lab.sweep.job import Train
from siamese_lab.tuning import trials
from siamese_lab.tuning.messages import trial_message
from siamese_lab.tuning.search import search
from siamese_lab.tuning.space import shipped_options, space_of


def run(train: Train, config: DictConfig, folder: Path, overrides: Sequence[str], console: Console) -> None:
    """Run the remaining trials and write tuned.json. A failure ends this tuning, not the other tunings.

    Args:
        train: trains a run without testing it, from the start or from `config.resume`.
        config: the configuration of the tuning.
        folder: the folder of the tuning; its last two parts are data set and strategy.
        overrides: the command line of the tuning.
        console: the console for a line about each trial.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM.
        FullDiskError: if the disk is full, which further tunings would meet too.
        Exception: on any bug, so that the command ends with its traceback.
    """
    try:
        with disk_errors(folder, "paths.outputs"):
            tune(train, config, folder, overrides, console)
    except (Interrupted, FullDiskError):
        raise
    except Exception as error:
        print(f"{'/'.join(folder.parts[-2:])} was not tuned: {error}", file=sys.stderr)
        if not isinstance(error, UserError):
            raise


def tune(train: Train, config: DictConfig, folder: Path, overrides: Sequence[str], console: Console) -> Tuned:
    """Tune as `run` does.

    Raises:
        UserError: for an invalid search space, a trial that failed because of a missing resource, shipped options
            that fail before training, or if all trials failed.
        Exception: on any bug in a trial.
    """
    every: list[Trial] = []

    def score_of(number: int, options: dict[str, Any]) -> float | None:
        trial_folder = folder / f"trial={number}"
        done_before = trials.is_done(trial_folder)
        every.append(trials.run_trial(train, config, trial_folder, overrides, options))
        if not done_before:
            print_plainly(console, trial_message(folder, every, config.tuning.trials))
        return every[-1].score

    space = space_of(config)
    search(space, config.tuning.trials, config.seed, shipped_options(config, space), score_of)
    tuned = tuning_record(config, folder, every)
    tuned.write(folder)
    return tuned


def tuning_record(config: DictConfig, folder: Path, every: list[Trial]) -> Tuned:
    """Return the record of a finished tuning, with the options of the best trial."""
    scored = [(trial.score, -trial.number, trial) for trial in every if trial.score is not None]
    if not scored:
        raise UserError(f"all {len(every)} trials failed; the error of the last trial: {every[-1].error}")
    score, _, best_trial = max(scored)
    data, sampler = folder.parts[-2:]
    return Tuned(
        data=data,
        sampler=sampler,
        options=best_trial.options,
        score=score,
        metric=config.tuning.metric,
        trials=len(every),
        every_trial=every,
        choices=schema.to_plain(config),
        versions=environment.versions(),
        commit=environment.commit(),
    )
