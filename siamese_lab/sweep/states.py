"""Read the states of the runs of a sweep from the results that the runs write at every validation.

Runs of earlier sessions may be finished in a packed file only, without folders of their own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from siamese_lab.errors import Fault, UserError
from siamese_lab.runs import results
from siamese_lab.runs.packed import find_packed
from siamese_lab.runs.results import Results
from siamese_lab.sweep.plan import Planned

What = Literal["left", "running", "finished", "failed"]
HEADLINE = "recall@1"


class State(NamedTuple):
    """The state of one run."""

    what: What
    share: float = 0.0
    """Share of the steps that are done."""
    recall: float | None = None
    """Recall@1 on test images of a finished run."""
    seconds: float | None = None
    """Duration of a finished run; for a resumed run, the duration since it was resumed."""
    error: str | None = None
    fault: Fault | None = None


class States:
    """Reads the states of runs, and reads a file again only if it has changed.

    Args:
        runs: the runs of the sweep.
        since: start of the sweep in seconds of the epoch; a run with status "running" and no newer file was killed.
    """

    def __init__(self, runs: Sequence[Planned], since: float) -> None:
        self.runs = runs
        self.since = since
        self._cache: dict[Path, tuple[float, State]] = {}

    def read(self) -> list[State]:
        """Return the state of every run, in the order of the runs."""
        return [self._state(run) for run in self.runs]

    def _state(self, run: Planned) -> State:
        path = run.folder / results.FILE_NAME
        try:
            if not path.exists():
                packed = find_packed(run.folder)
                return State("left") if packed is None else state_of(packed, run.steps, recent=False)
            changed = path.stat().st_mtime
            if run.folder not in self._cache or self._cache[run.folder][0] != changed:
                self._cache[run.folder] = (
                    changed,
                    state_of(results.read_results(run.folder), run.steps, changed >= self.since),
                )
        except (OSError, UserError):  # just replaced, or damaged, which the run itself reports
            return State("left")
        return self._cache[run.folder][1]


def state_of(run: Results, steps: int, recent: bool) -> State:
    """Return the state of a run from its results; `recent` is True if this sweep wrote them."""
    share = min(1.0, run.steps / steps)
    if run.status == "finished":
        return State("finished", 1.0, run.test.get(HEADLINE), run.seconds.get("total"))
    if run.status == "running" and recent:
        return State("running", share)
    if run.status == "failed" and recent:
        return State("failed", share, error=run.error, fault=run.fault)
    return State("left", share, error=run.error if run.status == "shortened" else None)
