"""Tune one strategy on one data set: run the trials and write tuned.json."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig
from rich.console import Console

from siamese_lab.config import schema
from siamese_lab.errors import FullDiskError, Interrupted, UserError
from siamese_lab.runs import environment
from siamese_lab.runs.disk import disk_errors
from siamese_lab.runs.display import print_plainly
from siamese_lab.runs.tuned import Trial, Tuned
from siamese_lab.sweep.job import Train
from siamese_lab.training import launch
from siamese_lab.tuning import trials
from siamese_lab.tuning.messages import trial_message
from siamese_lab.tuning.pruning import curve_of, medians
from siamese_lab.tuning.search import Group, Pruned, search
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
    """Tune as `run` does. Trials of a group start together, and the next group starts when all of them have ended.

    Raises:
        UserError: for an invalid search space, a trial that failed because of a missing resource, shipped options
            that fail before training, or if all trials failed.
        Exception: on any bug in a trial.
    """
    runner = Runner(train, config, folder, overrides, console)
    space = space_of(config)
    search(
        space,
        config.tuning.trials,
        config.seed,
        shipped_options(config, space),
        runner.score_of,
        config.tuning.get("parallel", 1),
        runner.run_group,
    )
    tuned = tuning_record(config, folder, runner.every)
    tuned.write(folder)
    return tuned


class Runner:
    """Runs the trials of one tuning, and keeps their records.

    Args:
        train: trains a run without testing it, from the start or from `config.resume`.
        config: the configuration of the tuning.
        folder: the folder of the tuning.
        overrides: the command line of the tuning.
        console: the console for a line about each trial.
    """

    def __init__(
        self, train: Train, config: DictConfig, folder: Path, overrides: Sequence[str], console: Console
    ) -> None:
        self.train, self.config, self.folder, self.overrides, self.console = train, config, folder, overrides, console
        self.every: list[Trial] = []
        """The records of the trials so far."""
        self._curves: list[dict[int, float]] = []
        self._medians: dict[int, float] = {}
        self._new: set[int] = set()

    def run_group(self, group: Group) -> None:
        """Train the trials of a group, if there are several, each in its own process. Skip finished trials."""
        prunes = bool(self.config.tuning.get("prune"))
        self._medians = medians(self._curves) if prunes else {}
        self._new = {number for number in group if not trials.is_done(self._folder_of(number), prunes)}
        if len(group) > 1 and self._new:
            jobs = [(self._folder_of(number), group[number]) for number in sorted(self._new)]
            launch.start(
                trial_of_group,
                (self.train, self.config, jobs, list(self.overrides), self._medians),
                len(jobs),
                self.console,
            )

    def score_of(self, number: int, options: dict[str, Any]) -> float | Pruned | None:
        """Run a trial of the group unless it is done, and return its score."""
        folder = self._folder_of(number)
        trial = trials.run_trial(self.train, self.config, folder, self.overrides, options, self._medians)
        self.every.append(trial)
        if number in self._new:
            print_plainly(self.console, trial_message(self.folder, self.every, self.config.tuning.trials))
        if not self.config.tuning.get("prune") or trial.status == "failed":
            return trial.score
        curve = curve_of(trials.read_trial_results(folder))
        if trial.status == "pruned":
            return Pruned(curve)
        self._curves.append(curve)
        return trial.score

    def _folder_of(self, number: int) -> Path:
        return self.folder / f"trial={number}"


def trial_of_group(
    train: Train,
    config: DictConfig,
    jobs: Sequence[tuple[Path, dict[str, Any]]],
    overrides: Sequence[str],
    medians_of_earlier: dict[int, float],
    console: Console,
    member: launch.Member,
) -> None:
    """Run one trial of a group in its own process. It prints nothing; its folder has its log."""
    schema.register_schema()
    rank_zero_only.rank = 0  # type: ignore[attr-defined]  # the process trains a whole run, and not a part of one
    folder, options = jobs[member.rank]
    trials.run_trial(train, config, folder, overrides, options, medians_of_earlier)


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
