"""Train a Siamese network with one strategy: `python -m siamese_lab.train [GROUP=NAME] [OPTION=VALUE] …`."""

import sys

if __name__ == "__main__":  # before the imports below, which Ctrl-C may interrupt
    from siamese_lab.__main__ import start

    sys.exit(start("train", sys.argv[1:]))


import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from siamese_lab.config import hydra_app
from siamese_lab.config.tuned_options import with_tuned_options
from siamese_lab.errors import USER_ERROR_STATUS, FullDiskError, Interrupted, UserError, interrupted_at_once
from siamese_lab.runs import display
from siamese_lab.runs.console import new_console
from siamese_lab.sweep.lock import run_alone

if TYPE_CHECKING:
    from siamese_lab.training.placement import Placement


def main() -> None:
    """Run the command."""
    hydra_app.run(job, keeps_failures=is_plain)


def is_plain(config: DictConfig) -> bool:
    """Return whether a run belongs to no study and no tuning, which handle the failures of their runs themselves."""
    return config.study_name is None and config.tuning is None


def job(config: DictConfig) -> None:
    """Run the job that Hydra starts: one training, one run of a study, or the tuning of one strategy."""
    hydra = HydraConfig.get()
    check_multirun(config, hydra.mode)
    with interrupted_at_once():  # PyTorch is loaded only here, so that --help and wrong options are answered at once
        from siamese_lab.training.placement import find_placement
        from siamese_lab.training.requeue import requeued_checkpoint
        from siamese_lab.training.resume_checks import is_finished

    console = new_console()
    folder = Path(hydra.runtime.output_dir)
    config = with_tuned_options(config, hydra)
    if config.data.name == "features":
        from siamese_lab.evaluation.features import prepare_features

        prepare_features(config, console)
    if config.tuning is not None:
        tune_strategy(config, folder, hydra.overrides.task, console)
        return
    if config.study_name is not None:
        run_job_of_study(config, folder, hydra.overrides.task)
        return
    placement = find_placement(config.trainer)
    if placement.is_launched:
        console = console_of_launched(placement, hydra)
    if config.resume is None and (requeued := requeued_checkpoint(folder)) is not None:
        if is_finished(folder):
            display.print_plainly(console, f"The run of this requeued job has finished: {display.short(folder)}")
            return
        display.print_plainly(console, f"SLURM has requeued this job: resuming {display.short(requeued)}")
        config.resume = str(requeued)
    with nullcontext() if placement.rank else run_alone(folder):
        train_and_print(config, folder, hydra, console)


def train_and_print(config: DictConfig, folder: Path, hydra: HydraConf, console: Console) -> None:
    """Train one network, and print the results or how to resume."""
    from siamese_lab.training.run import record_failure, train

    try:
        results = train(config, folder, hydra.overrides.task, console)
    except Interrupted as interrupted:
        display.print_interrupted(console, interrupted.checkpoint, hydra.overrides.task)
        raise SystemExit(128 + interrupted.number) from None
    except Exception as error:
        # A bug, also before training starts, when nothing is recorded yet; and every failed run of a sweep
        if hydra.mode == RunMode.MULTIRUN or not isinstance(error, UserError):
            record_failure(config, folder, error)
        raise
    display.print_outcome(console, results, folder)


def console_of_launched(placement: "Placement", hydra: HydraConf) -> Console:
    """Return the console of a process that torchrun or srun has started; only the first process prints.

    Raises:
        UserError: for a sweep, or if the processes have no common folder.
    """
    if hydra.mode == RunMode.MULTIRUN:
        raise UserError("A sweep (-m) starts its processes itself. Start it without torchrun and srun.")
    if not any(override.startswith("hydra.run.dir=") for override in hydra.overrides.hydra):
        raise UserError(
            f"torchrun or srun has started {placement.processes} processes, which need one common "
            "folder. Set hydra.run.dir=FOLDER."
        )
    if placement.rank:
        warnings.simplefilter("ignore")
    return new_console(quiet=placement.rank > 0)


def run_job_of_study(config: DictConfig, folder: Path, overrides: Sequence[str]) -> None:
    """Run or resume one job of a study, without console output."""
    from siamese_lab.sweep.job import run
    from siamese_lab.training.run import train

    with ending_the_sweep():
        run(train, config, folder, overrides)


def tune_strategy(config: DictConfig, folder: Path, overrides: Sequence[str], console: Console) -> None:
    """Run the trials of one strategy on one data set, and print a line for each."""
    from siamese_lab.training.run import train
    from siamese_lab.tuning.job import run

    with ending_the_sweep():
        run(partial(train, with_test=False), config, folder, overrides, console)


@contextmanager
def ending_the_sweep() -> Iterator[None]:
    """End the whole sweep if one of its jobs is interrupted or finds the disk full."""
    try:
        yield
    except Interrupted as interrupted:
        raise SystemExit(128 + interrupted.number) from None
    except FullDiskError as error:
        print(f"Error: {error} The same command then continues the sweep.", file=sys.stderr)
        raise SystemExit(USER_ERROR_STATUS) from None


def check_multirun(config: DictConfig, mode: RunMode | None) -> None:
    """Raise UserError if an experiment of many runs was started without -m."""
    if mode != RunMode.MULTIRUN and not is_plain(config):
        experiment = HydraConfig.get().runtime.choices.get("experiment") or "study"
        command = f"python -m siamese_lab.train -m experiment={experiment}"
        raise UserError(f"experiment={experiment} consists of many runs, so it takes -m: {command}.")
