"""Lock the folder of a sweep or run for one process; the lock of a killed process is released."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from siamese_lab.errors import ResourceError

LOCK = ".lock"


def lock_sweep(folder: Path) -> FileLock:
    """Lock the folder of a sweep until the lock is released or this process ends.

    Raises:
        UserError: if another sweep uses the folder, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise ResourceError(
            f"Another sweep is using {folder}. Wait until it has ended and repeat the command to do the remaining "
            "work, or choose another folder: study_name=ANOTHER."
        ) from None
    except OSError as error:
        raise ResourceError(
            f"The sweep cannot write to {folder} ({error.strerror}). Choose another folder: paths.outputs=FOLDER."
        ) from error
    return lock


@contextmanager
def locked_run(folder: Path) -> Iterator[None]:
    """Lock the folder of a run; wait while another process, such as a job of a killed sweep, holds the lock."""
    with FileLock(folder / LOCK):
        yield
