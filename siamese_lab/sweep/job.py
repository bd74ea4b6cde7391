"""Run or resume one job of a sweep without console output. A full disk ends the sweep, other failures do not."""

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from siamese_lab.config import schema
from siamese_lab.errors import FullDiskError, Interrupted, UserError
from siamese_lab.runs.console import new_console
from siamese_lab.runs.disk import disk_errors
from siamese_lab.sweep.lock import locked_run
from siamese_lab.sweep.resume_state import remaining_work

LOG = "run.log"

Train = Callable[[DictConfig, Path, Sequence[str], Console], object]


def run(train: Train, config: DictConfig, folder: Path, overrides: Sequence[str]) -> Exception | None:
    """Do the remaining work of the run in a folder, and record the outcome in its results.json and run.log.

    Args:
        train: trains and tests a run, from the start or from `config.resume`.
        config: the configuration of the run.
        folder: the folder of the run.
        overrides: the command line of the run.

    Returns:
        The error that ended the run, with its traceback; None if the run finished.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM.
        FullDiskError: if the disk is full, which further runs would meet too.
    """
    try:
        with disk_errors(folder, "paths.outputs"), locked_run(folder), log(folder) as console:
            remaining = remaining_work(folder, schema.to_plain(config), console)
            if remaining.what != "nothing":
                config.resume = None if remaining.checkpoint is None else str(remaining.checkpoint)
                return attempt(train, config, folder, overrides, console)
    except FullDiskError:
        raise
    except UserError as error:  # other configuration: nothing may be written to the folder
        print(f"{folder} failed: {error}", file=sys.stderr)
        return error
    return None


def attempt(
    train: Train, config: DictConfig, folder: Path, overrides: Sequence[str], console: Console
) -> Exception | None:
    """Train; record and return the error if the run fails."""
    try:
        with disk_errors(folder, "paths.outputs"):
            train(config, folder, overrides, console)
    except Interrupted:
        raise
    except Exception as error:
        from siamese_lab.training.run import record_failure  # loads PyTorch, which planning a sweep does not need

        console.print(traceback.format_exc(), markup=False, highlight=False, soft_wrap=True)
        record_failure(config, folder, error)
        if isinstance(error, FullDiskError):
            raise
        return error
    return None


@contextmanager
def log(folder: Path) -> Iterator[Console]:
    """Append the console output and the warnings of a run to its log file."""
    with (folder / LOG).open("a", encoding="utf-8") as file, redirect_stderr(file):
        yield new_console(file=file, width=120)
