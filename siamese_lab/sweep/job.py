"""Run or resume one job of a sweep without console output. Its failure does not end the other jobs."""

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from siamese_lab.config import schema
from siamese_lab.errors import UserError
from siamese_lab.runs.disk import disk_errors
from siamese_lab.sweep.lock import claimed_run
from siamese_lab.sweep.resume_state import left_of
from siamese_lab.training.callbacks import Interrupted
from siamese_lab.training.run import record_failure

LOG = "run.log"

Train = Callable[[DictConfig, Path, Sequence[str], Console], object]


def run(train: Train, config: DictConfig, folder: Path, overrides: Sequence[str]) -> Exception | None:
    """Do what is left of the run in a folder, and record the outcome in its results.json and run.log.

    Args:
        train: does all of a run, or from `config.resume` on.
        config: of the run.
        folder: of the run.
        overrides: its command line.

    Returns:
        The error that the run failed by, with its traceback; None for a run that finished.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM.
    """
    try:
        with disk_errors(folder, "paths.outputs"), claimed_run(folder), log(folder) as console:
            left = left_of(folder, schema.to_plain(config), console)
            if left.what != "nothing":
                config.resume = None if left.checkpoint is None else str(left.checkpoint)
                return attempt(train, config, folder, overrides, console)
    except UserError as error:  # a full disk or a run of other choices: nothing may be written there
        print(f"{folder} failed: {error}", file=sys.stderr)
        return error
    return None


def attempt(
    train: Train, config: DictConfig, folder: Path, overrides: Sequence[str], console: Console
) -> Exception | None:
    """Train, and return and record the error that the run failed by."""
    try:
        with disk_errors(folder, "paths.outputs"):
            train(config, folder, overrides, console)
    except Interrupted:
        raise
    except Exception as error:
        console.print(traceback.format_exc(), markup=False, highlight=False, soft_wrap=True)
        record_failure(config, folder, error)
        return error
    return None


@contextmanager
def log(folder: Path) -> Iterator[Console]:
    """What a run would say on the terminal, warnings too, goes into a file, behind what it said before."""
    with (folder / LOG).open("a", encoding="utf-8") as file, redirect_stderr(file):
        yield Console(file=file, width=120)
