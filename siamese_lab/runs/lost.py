"""Find the runs of a sweep that lost their process, and record that they did not finish."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from siamese_lab.errors import ResourceError, UserError
from siamese_lab.runs import results
from siamese_lab.runs.files import LOCK

PATIENCE = 20.0
"""Seconds to wait until the process of a run has ended. When one process of a sweep is killed, the others end too."""


def lost_process(sweep: Path, since: float) -> ResourceError:
    """Record the runs of killed processes, and return the error that names them.

    Args:
        sweep: the folder of the sweep.
        since: start of the sweep in seconds of the epoch; runs that were recorded earlier belong to other commands.
    """
    lost = [str(folder.relative_to(sweep)) for folder in _record_lost(sweep, since)]
    listed = f" Runs that were lost: {', '.join(lost)}." if lost else ""
    return ResourceError(
        f"A process of the sweep in {sweep} was killed, for lack of memory or by a user.{listed} A study or a tuning "
        "continues with the remaining work if the same command is repeated."
    )


def _record_lost(sweep: Path, since: float) -> Iterator[Path]:
    for path in sorted(sweep.rglob(results.FILE_NAME)):
        with suppress(OSError, UserError, Timeout):
            if path.stat().st_mtime < since or results.read_results(path.parent).status != "running":
                continue
            with FileLock(path.parent / LOCK).acquire(timeout=PATIENCE):
                record = results.read_results(path.parent)
                if record.status == "running":
                    record.fail(ResourceError("Its process was killed."))
                    record.write(path.parent)
                    yield path.parent
