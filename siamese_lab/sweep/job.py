"""One run of a sweep: what is left of it, in silence, and so that its failure does not end the others."""

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from siamese_lab import choices, record
from siamese_lab.callbacks import Interrupted
from siamese_lab.study import results
from siamese_lab.sweep.claim import claimed_run
from siamese_lab.sweep.left import left_of

LOG = "run.log"

Train = Callable[[DictConfig, Path, Sequence[str], Console], object]


def run(train: Train, config: DictConfig, folder: Path, overrides: Sequence[str]) -> None:
    """Do what is left of the run in a folder; how it went is in its results.json and run.log.

    Args:
        train: does all of a run, or from `config.resume` on.
        config: of the run.
        folder: of the run.
        overrides: its command line.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM.
    """
    try:
        with claimed_run(folder), log(folder) as console:
            left = left_of(folder, choices.plain(config), console)
            if left.what != "nothing":
                config.resume = None if left.checkpoint is None else str(left.checkpoint)
                attempt(train, config, folder, overrides, console)
    except (OSError, ValueError) as error:  # a full disk, say: there is nowhere to write it
        print(f"{folder} failed: {error}", file=sys.stderr)


def attempt(train: Train, config: DictConfig, folder: Path, overrides: Sequence[str], console: Console) -> None:
    """Train, and leave the reason where that fails."""
    try:
        train(config, folder, overrides, console)
    except Interrupted:
        raise
    except Exception as error:
        console.print(traceback.format_exc(), markup=False, highlight=False, soft_wrap=True)
        record_failure(config, folder, error)


def record_failure(config: DictConfig, folder: Path, error: Exception) -> None:
    """Into results.json, unless the run has come far enough to do that itself."""
    with suppress(OSError, ValueError):
        if results.read(folder).status == "failed":
            return
    failed = record.begin(config)
    failed.status, failed.error = "failed", f"{type(error).__name__}: {error}"
    failed.write(folder)


@contextmanager
def log(folder: Path) -> Iterator[Console]:
    """What a run would say on the terminal, warnings too, goes into a file, behind what it said before."""
    with (folder / LOG).open("a", encoding="utf-8") as file, redirect_stderr(file):
        yield Console(file=file, width=120)
