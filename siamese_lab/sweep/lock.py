"""A folder belongs to one process at a time; a process that is killed holds nothing any longer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from siamese_lab.errors import ResourceError

LOCK = ".lock"


def lock_sweep(folder: Path) -> FileLock:
    """The folder of a sweep, for as long as this process lives or until the lock is released.

    Raises:
        UserError: if another sweep is at work in it, or it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise ResourceError(
            f"Another sweep is at work in {folder}. Wait until it has ended and give the command again, "
            "which then does what is left, or write elsewhere: name=ANOTHER."
        ) from None
    except OSError as error:
        raise ResourceError(
            f"The sweep cannot write to {folder} ({error.strerror}). Take another folder: paths.outputs=FOLDER."
        ) from error
    return lock


@contextmanager
def locked_run(folder: Path) -> Iterator[None]:
    """The folder of a run. Where another process is at work in it, left behind by a sweep that was killed, wait."""
    with FileLock(folder / LOCK):
        yield
