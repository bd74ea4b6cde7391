"""What Hydra calls before and after the tunings of a sweep: refuse what cannot go well, show the best."""

from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from siamese_lab.config.errors import callback_errors_end_the_process
from siamese_lab.errors import UserError
from siamese_lab.runs import tuned
from siamese_lab.runs.display import print_plainly, short
from siamese_lab.runs.tuned import Tuned
from siamese_lab.sweep.callback import FAILED
from siamese_lab.sweep.lock import lock_sweep
from siamese_lab.sweep.plan import Planned, plan
from siamese_lab.tuning.messages import table
from siamese_lab.tuning.search import import_optuna
from siamese_lab.tuning.space import space_of


class Tuning(Callback):
    """Watches over the tunings from the process that was started; the processes of its jobs get an empty copy."""

    def __init__(self) -> None:
        self.lock: FileLock | None = None
        self.runs: list[Planned] = []

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of it is for the processes of jobs."""
        return {"lock": None, "runs": []}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check everything that can be checked before hours of trials.

        An error ends the process here, because Hydra turns an exception of a callback into a warning.
        """
        console = Console()
        with callback_errors_end_the_process():
            import_optuna()
            self.lock = lock_sweep(Path(config.hydra.sweep.dir))
            with console.status("Composing the tunings …"):
                self.runs = plan(config)
            for run in self.runs:
                check(run)
        trials = self.runs[0].choices["tuning"]["trials"]
        print_plainly(console, f"{len(self.runs)} tunings of {trials} trials each.")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Say what came of it."""
        console = Console()
        done, missing = found(self.runs)
        if done:
            console.print(table(done))
        for run in missing:
            place = short(run.folder.absolute())
            print_plainly(console, f"Not tuned: data={run.data} sampler={run.sampler}, see {place}")
        if self.lock is not None:
            self.lock.release()
        if missing:
            print_plainly(console, "The same command does what is left.")
            raise SystemExit(FAILED)
        folder = short(Path(config.hydra.sweep.dir).absolute())
        print_plainly(
            console, f"Study:  python -m siamese_lab.train -m experiment=study tuned={folder} name=tuned_study"
        )


def check(run: Planned) -> None:
    """Raise UserError for a tuning that could not be done."""
    trials = run.choices["tuning"]["trials"]
    if trials < 1:
        raise UserError(f"tuning.trials must be at least 1, but is {trials}.")
    space_of(OmegaConf.create(run.choices))


def found(runs: list[Planned]) -> tuple[list[Tuned], list[Planned]]:
    """What has been tuned, and what has not."""
    done, missing = [], []
    for run in runs:
        there = read(run.folder)
        if there is not None and there.trials == run.choices["tuning"]["trials"]:
            done.append(there)
        else:
            missing.append(run)
    return done, missing


def read(folder: Path) -> Tuned | None:
    """The winner in a folder, if there is one that can be read."""
    try:
        return tuned.read_tuned(folder)
    except (OSError, UserError):
        return None
