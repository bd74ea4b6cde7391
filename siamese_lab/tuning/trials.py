"""Run or resume one trial in its own folder, or read its results if it is done."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from omegaconf import DictConfig

from siamese_lab.config import schema
from siamese_lab.config.tuned_options import with_options
from siamese_lab.errors import ResourceError, UserError, fault_of
from siamese_lab.runs import checkpoints, results
from siamese_lab.runs.results import Results
from siamese_lab.runs.tuned import Trial
from siamese_lab.sweep import job as sweep_job
from siamese_lab.sweep.job import Train
from siamese_lab.sweep.resume_state import check_same
from siamese_lab.training.callbacks.prune_trial import PruneTrial

SHIPPED_TRIAL = 0
"""The number of the trial that tries the shipped options."""


def run_trial(
    train: Train,
    config: DictConfig,
    folder: Path,
    overrides: Sequence[str],
    options: Mapping[str, Any],
    medians: Mapping[int, float] = MappingProxyType({}),
) -> Trial:
    """Run or resume the trial of the given options in its folder, and return its record.

    The weights of a finished trial are deleted, because only its score is needed.

    Args:
        train: trains a run without testing it, from the start or from `config.resume`.
        config: the configuration of the tuning.
        folder: the folder of the trial, named `trial=NUMBER`.
        overrides: the command line of the tuning.
        options: the options to try.
        medians: medians of earlier trials, below which the trial is pruned; empty prunes nothing.

    Raises:
        UserError: if the trial failed for a reason other than its options, or its folder holds another run.
        Interrupted: on Ctrl-C or SIGTERM.
        Exception: on any bug, with its traceback.
    """
    run = with_options(config, options)
    run.tuning = None
    prunes = bool(config.tuning.get("prune"))
    if not is_done(folder, prunes):
        folder.mkdir(parents=True, exist_ok=True)
        trainable: Callable[..., object] = train
        pruning = partial(trainable, prune=PruneTrial(medians)) if medians else train
        of_trial = [*overrides, *(f"{name}={value}" for name, value in options.items())]
        error = sweep_job.run(pruning, run, folder, of_trial)
        if error is not None and fault_of(error) == "bug":
            raise error
    run_results = read_trial_results(folder)
    check_same(folder, run_results.choices, schema.to_plain(run))
    if not is_done(folder, prunes):
        raise UserError(
            f"{folder} has failed: {run_results.error or run_results.status}. Repeat the same command to continue."
        )
    shutil.rmtree(folder / checkpoints.FOLDER, ignore_errors=True)
    return trial_of(run_results, number_of(folder), options, config.tuning.metric)


def is_done(folder: Path, prunes: bool = False) -> bool:
    """Return whether a trial has finished, was pruned, or failed because of its options and would fail again.

    If a trial with the shipped options fails before training, the cause is common to all trials, such as the data.

    Args:
        folder: the folder of the trial.
        prunes: False for a tuning that prunes no trial, so that a trial that was pruned earlier trains to its end.
    """
    try:
        run_results = results.read_results(folder)
    except (OSError, UserError):
        return False
    began = run_results.steps > 0 or number_of(folder) != SHIPPED_TRIAL
    if prunes and run_results.pruned is not None:
        return True
    return run_results.status == "finished" or (
        run_results.status == "failed" and run_results.fault == "options" and began
    )


def number_of(folder: Path) -> int:
    """Return the number of the trial in a folder."""
    return int(folder.name.split("=")[1])


def read_trial_results(folder: Path) -> Results:
    """Read the results of a trial that was run."""
    try:
        return results.read_results(folder)
    except OSError as error:
        raise ResourceError(
            f"{folder} has no results ({error.strerror}). Repeat the same command to run it again."
        ) from error


def trial_of(run_results: Results, number: int, options: Mapping[str, Any], metric: str) -> Trial:
    """Return the record of a trial from the results of its run."""
    if run_results.status == "failed":
        return Trial(number, dict(options), "failed", None, run_results.error, None)
    if run_results.pruned is not None:
        return Trial(number, dict(options), "pruned", None, run_results.error, run_results.seconds.get("total"))
    score = run_results.validation.get(metric)
    if score is None:
        known = ", ".join(name for name, value in run_results.validation.items() if value is not None)
        raise UserError(f"tuning.metric={metric} is not a metric of the validation images. Available: {known}.")
    return Trial(number, dict(options), "finished", score, None, run_results.seconds.get("total"))
