"""How the runs of a sweep stand, read from the results that they write at every validation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from siamese_lab.errors import Fault, UserError
from siamese_lab.runs import results
from siamese_lab.runs.results import Results
from siamese_lab.sweep.plan import Planned

What = Literal["left", "running", "finished", "failed"]
HEADLINE = "recall@1"


class State(NamedTuple):
    """Of one run."""

    what: What
    share: float = 0.0
    """Of its steps that are done."""
    recall: float | None = None
    """Recall@1 on test images, of a run that is finished."""
    seconds: float | None = None
    """That a finished run took; of one that was interrupted, since it was last taken up."""
    error: str | None = None
    fault: Fault | None = None


class States:
    """Reads again only what has changed.

    Args:
        runs: of the sweep.
        since: seconds of the epoch; a run that says it is running and has written nothing since was killed before.
    """

    def __init__(self, runs: Sequence[Planned], since: float) -> None:
        self.runs = runs
        self.since = since
        self._known: dict[Path, tuple[float, State]] = {}

    def read(self) -> list[State]:
        """Of every run, in their order."""
        return [self._state(run) for run in self.runs]

    def _state(self, run: Planned) -> State:
        place = run.folder / results.FILE_NAME
        try:
            changed = place.stat().st_mtime
            if run.folder not in self._known or self._known[run.folder][0] != changed:
                self._known[run.folder] = (
                    changed,
                    state_of(results.read_results(run.folder), run.steps, changed >= self.since),
                )
        except (OSError, UserError):  # not there yet, or damaged, which the run itself will say
            return State("left")
        return self._known[run.folder][1]


def state_of(run: Results, steps: int, recent: bool) -> State:
    """Of what a run has written, `recent`ly or before this sweep began."""
    share = min(1.0, run.steps / steps)
    if run.status == "finished":
        return State("finished", 1.0, run.test.get(HEADLINE), run.seconds.get("total"))
    if run.status == "running" and recent:
        return State("running", share)
    if run.status == "failed" and recent:
        return State("failed", share, error=run.error, fault=run.fault)
    return State("left", share)
