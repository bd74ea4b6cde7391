"""The Hydra callback of a sweep of tunings: check the tunings before the first trial, and show the best trials."""

from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from siamese_lab.config.errors import callback_errors_end_the_process
from siamese_lab.errors import UserError
from siamese_lab.runs import tuned
from siamese_lab.runs.console import new_console
from siamese_lab.runs.display import counted, print_plainly, short
from siamese_lab.runs.tuned import Tuned
from siamese_lab.sweep.callback import FAILED
from siamese_lab.sweep.lock import lock_sweep
from siamese_lab.sweep.plan import Planned, plan
from siamese_lab.tuning.messages import print_best
from siamese_lab.tuning.search import import_optuna
from siamese_lab.tuning.space import space_of


class Tuning(Callback):
    """Monitors the tunings from the main process; the processes of the jobs get an empty copy."""

    def __init__(self) -> None:
        self.lock: FileLock | None = None
        self.runs: list[Planned] = []

    def __getstate__(self) -> dict[str, Any]:
        """Return an empty state, because the processes of jobs need neither lock nor runs."""
        return {"lock": None, "runs": []}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check everything that can be checked before hours of trials.

        An error ends the process here, because Hydra turns an exception of a callback into a warning.
        """
        console = new_console()
        with callback_errors_end_the_process():
            import_optuna()
            self.lock = lock_sweep(Path(config.hydra.sweep.dir))
            with console.status("Composing the tunings …"):
                self.runs = plan(config)
            for run in self.runs:
                check(run)
        trials = self.runs[0].choices["tuning"]["trials"]
        print_plainly(console, f"{counted(len(self.runs), 'tuning')} of {counted(trials, 'trial')} each.")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the best trials, the missing tunings and the next command; exit with status 1 if any is missing."""
        console = new_console()
        done, missing = split_by_state(self.runs)
        if done:
            print_best(console, done)
        for run in missing:
            folder = short(run.folder.absolute())
            print_plainly(console, f"Not tuned: data={run.data} sampler={run.sampler}, see {folder}")
        if self.lock is not None:
            self.lock.release()
        if missing:
            print_plainly(console, "Repeat the same command to do the remaining work.")
            raise SystemExit(FAILED)
        folder = short(Path(config.hydra.sweep.dir).absolute())
        print_plainly(
            console, f"Study:  python -m siamese_lab.train -m experiment=study tuned={folder} study_name=tuned_study"
        )


def check(run: Planned) -> None:
    """Raise UserError for an invalid number of trials, an option of another kind, or an invalid search space."""
    trials = run.choices["tuning"]["trials"]
    if trials < 1:
        raise UserError(f"tuning.trials must be at least 1, but is {trials}.")
    parallel, prune = run.choices["tuning"].get("parallel", 1), run.choices["tuning"].get("prune", False)
    if type(parallel) is not int or parallel < 1:
        raise UserError(f"tuning.parallel must be a whole number of at least 1, but is {parallel!r}.")
    if not isinstance(prune, bool):
        raise UserError(f"tuning.prune must be true or false, but is {prune!r}.")
    space_of(OmegaConf.create(run.choices))


def split_by_state(runs: list[Planned]) -> tuple[list[Tuned], list[Planned]]:
    """Return the records of finished tunings, and the runs of missing tunings."""
    done, missing = [], []
    for run in runs:
        record = read_if_present(run.folder)
        if record is not None and record.trials == run.choices["tuning"]["trials"]:
            done.append(record)
        else:
            missing.append(run)
    return done, missing


def read_if_present(folder: Path) -> Tuned | None:
    """Read tuned.json from a folder; return None if it is missing or damaged."""
    try:
        return tuned.read_tuned(folder)
    except (OSError, UserError):
        return None
