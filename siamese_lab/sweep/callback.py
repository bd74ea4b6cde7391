"""The Hydra callback of a sweep: plan the runs, lock the folder, show the progress, and list failed runs."""

import atexit
import sys
import time
from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from siamese_lab.config.errors import callback_errors_end_the_process
from siamese_lab.errors import UserError
from siamese_lab.runs import environment
from siamese_lab.runs.console import new_console
from siamese_lab.runs.display import counted, describe_curves, print_plainly, print_titled, short
from siamese_lab.runs.packed import check_packed, find_results
from siamese_lab.sweep.job import LOG
from siamese_lab.sweep.lock import lock_sweep
from siamese_lab.sweep.overview import TITLE, Overview, tables
from siamese_lab.sweep.plan import Planned, plan
from siamese_lab.sweep.resume_state import check_same
from siamese_lab.sweep.states import States

FAILED = 1
"""Exit status if some runs did not finish."""


class Sweep(Callback):
    """Monitors a sweep from the main process; the processes of the jobs get an empty copy."""

    def __init__(self) -> None:
        self.lock: FileLock | None = None
        self.overview: Overview | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return an empty state, because the processes of jobs need neither lock nor overview."""
        return {"lock": None, "overview": None}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check the sweep before the first run, lock its folder, and start the overview.

        An error ends the process here, because Hydra turns an exception of a callback into a warning.
        """
        console = new_console()
        with callback_errors_end_the_process():
            self.lock = lock_sweep(Path(config.hydra.sweep.dir))
            with console.status("Composing the runs of the sweep …"):
                runs = plan(config)
            check_packed(Path(config.hydra.sweep.dir))
            check_runs(runs, console)
        self.overview = Overview(console, States(runs, time.time()))
        atexit.register(self._end)  # for sweeps that are interrupted
        self.overview.start()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the results, the unfinished runs and the next commands; exit with status 1 if runs are unfinished."""
        assert self.overview is not None
        console, states = self.overview.console, self.overview.states
        self._end()
        print_titled(console, TITLE, *tables(console, states.runs, states.read()))
        missing = print_missing(console, states)
        folder = Path(config.hydra.sweep.dir)
        print_plainly(
            console,
            f"Report:  python -m siamese_lab.report {short(folder.absolute())}",
            *describe_curves(folder),
        )
        if missing:
            raise SystemExit(FAILED)

    def _end(self) -> None:
        atexit.unregister(self._end)
        if self.overview is not None:
            self.overview.stop()
            self.overview = None
        if self.lock is not None:
            self.lock.release()


def check_runs(runs: list[Planned], console: Console) -> None:
    """Check existing runs: raise UserError for a run with another configuration, and list runs of other code."""
    commit, others = environment.commit(), {}
    for run in runs:
        try:
            existing = find_results(run.folder)
        except (OSError, UserError):
            continue
        check_same(run.folder, existing.choices, run.choices)
        if existing.status == "finished" and existing.commit != commit:
            others[run.name] = existing.commit
    if others:
        first, other_commit = next(iter(others.items()))
        print_plainly(
            console,
            f"{counted(len(others), 'finished run')} used other code than this ({commit}), such as {first} "
            f"({other_commit}). They are kept, and the report lists their commits. To run them again, delete their "
            "folders.",
        )


def print_missing(console: Console, states: States) -> int:
    """List the runs that have not finished, with their reasons, and return their number."""
    missing = [(run, state) for run, state in zip(states.runs, states.read(), strict=True) if state.what != "finished"]
    for run, state in missing:
        folder = short(run.folder.absolute())
        print_plainly(console, f"Not finished: {run.name}: {state.error or f'see {folder}'}")
        if state.fault == "bug":
            print_plainly(console, f"    This is a bug. Its traceback is in {folder / LOG}.")
    if missing:
        print_plainly(console, "Repeat the same command to run only these again.")
    sys.stdout.flush()
    return len(missing)
