"""The Hydra callback of a sweep without a name: check its runs before the first one starts, list them at the end."""

import time
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from siamese_lab.config.errors import callback_errors_end_the_process
from siamese_lab.config.overrides import option_of
from siamese_lab.errors import BUG_STATUS, USER_ERROR_STATUS, UserError
from siamese_lab.runs import results
from siamese_lab.runs.console import new_console
from siamese_lab.runs.display import counted, describe_curves, print_plainly, print_titled, short
from siamese_lab.runs.results import Results
from siamese_lab.sweep.overview import percent
from siamese_lab.sweep.plan import Planned, plan

NAMED_BY_FOLDER = ("data", "sampler", "seed")
"""Options that stand in the name of a run's folder."""


class Summary(Callback):
    """Checks and lists the runs from the main process; the processes of the jobs get an empty copy."""

    def __init__(self) -> None:
        self.runs: list[Planned] = []

    def __getstate__(self) -> dict[str, Any]:
        """Return an empty state, because the processes of jobs need no runs."""
        return {"runs": []}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Compose and check all runs.

        An error ends the process here, because Hydra turns an exception of a callback into a warning.
        """
        with callback_errors_end_the_process():
            self.runs = plan(config)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print a table of the runs; exit with status 2 if a run failed, and with status 1 if a bug was the cause."""
        console = new_console()
        found = [read_if_present(run.folder) for run in self.runs]
        folder = Path(config.hydra.sweep.dir)
        print_titled(
            console, f"{counted(len(self.runs), 'run')} in {short(folder.absolute())}", table(self.runs, found, folder)
        )
        print_plainly(console, f"Report:  python -m siamese_lab.report {short(folder.absolute())}")
        print_plainly(console, *describe_curves(folder))
        for each in found:
            if each is not None and each.status == "shortened":
                print_plainly(console, f"Reports leave a run with {each.sampler}, seed {each.seed} out: {each.error}")
        failed = [each for each in found if each is None or each.status not in ("finished", "shortened")]
        if failed:
            print_plainly(console, f"{counted(len(failed), 'run')} did not finish. The messages are above.")
            bugs = [each for each in failed if each is None or each.fault in (None, "bug")]
            raise SystemExit(BUG_STATUS if bugs else USER_ERROR_STATUS)


def read_if_present(folder: Path) -> Results | None:
    """Read the results of a run; return None if they are missing or damaged."""
    try:
        return results.read_results(folder)
    except (OSError, UserError):
        return None


def table(runs: list[Planned], found: list[Results | None], folder: Path) -> Table:
    """Return the table of the runs: the test results, the duration, the folder, and the options that differ."""
    drawn = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("Recall@1", "MAP@R", "time", "run"):
        drawn.add_column(column, justify="left" if column == "run" else "right", overflow="fold")
    for run, result in zip(runs, found, strict=True):
        figures = ["–"] * 3
        if result is not None and result.status == "finished":
            seconds = result.seconds["total"]
            recall, precision = (percent(result.test.get(metric)) for metric in ("recall@1", "map@r"))
            figures = [recall, precision, time.strftime("%H:%M:%S", time.gmtime(seconds))]
        elif result is not None:
            figures[0] = result.status
        further = [each for each in run.overrides if option_of(each) not in NAMED_BY_FOLDER]
        drawn.add_row(*figures, "\n".join([escape(str(run.folder.relative_to(folder))), *map(escape, further)]))
    return drawn
