"""What Hydra calls before and after a sweep: plan it, claim its folder, show how it goes, list what failed."""

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
from siamese_lab.runs import environment, results
from siamese_lab.runs.display import print_plainly, short
from siamese_lab.sweep.job import LOG
from siamese_lab.sweep.lock import lock_sweep
from siamese_lab.sweep.overview import Overview, name, table
from siamese_lab.sweep.plan import Planned, plan
from siamese_lab.sweep.resume_state import check_same
from siamese_lab.sweep.states import States

FAILED = 1
"""Exit status where some runs did not come to an end."""


class Sweep(Callback):
    """Watches over a sweep from the process that was started; the processes of its jobs get an empty copy."""

    def __init__(self) -> None:
        self.lock: FileLock | None = None
        self.overview: Overview | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of it is for the processes of jobs."""
        return {"lock": None, "overview": None}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse what cannot go well, and begin to show what does.

        An error ends the process here, because Hydra turns an exception of a callback into a warning.
        """
        console = Console()
        with callback_errors_end_the_process():
            self.lock = lock_sweep(Path(config.hydra.sweep.dir))
            with console.status("Composing the runs of the sweep …"):
                runs = plan(config)
            check_runs(runs, console)
        self.overview = Overview(console, States(runs, time.time()))
        atexit.register(self._end)  # for sweeps that are interrupted
        self.overview.start()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Say what came of it."""
        assert self.overview is not None
        console, states = self.overview.console, self.overview.states
        self._end()
        console.print(table(states.runs, states.read()))
        missing = print_missing(console, states)
        folder = short(Path(config.hydra.sweep.dir).absolute())
        print_plainly(
            console,
            f"Report: python -m siamese_lab.report {folder}",
            f"Curves: tensorboard --logdir {folder}",
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
    """Check the runs that are there: raise UserError for a run of other choices, and name runs of other code."""
    commit, others = environment.commit(), {}
    for run in runs:
        try:
            there = results.read_results(run.folder)
        except (OSError, UserError):
            continue
        check_same(run.folder, there.choices, run.choices)
        if there.status == "finished" and there.commit != commit:
            others[name(run)] = there.commit
    if others:
        first, of_first = next(iter(others.items()))
        print_plainly(
            console,
            f"{len(others)} finished runs are of other code than this ({commit}), such as {first} ({of_first}). "
            "They are kept, and the report tells them apart; delete their folders to run them again.",
        )


def print_missing(console: Console, states: States) -> int:
    """List the runs that have not finished, with their reasons, and return their number."""
    missing = [(run, state) for run, state in zip(states.runs, states.read(), strict=True) if state.what != "finished"]
    for run, state in missing:
        place = short(run.folder.absolute())
        print_plainly(console, f"Not finished: {name(run)}: {state.error or f'see {place}'}")
        if state.fault == "bug":
            print_plainly(console, f"    This is a bug. Its traceback is in {place / LOG}.")
    if missing:
        print_plainly(console, "The same command runs these again, and nothing else.")
    sys.stdout.flush()
    return len(missing)
