"""Lock the folder of a sweep or run for one process; the lock of a killed process is released."""

import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from siamese_lab.errors import ResourceError
from siamese_lab.runs.disk import disk_errors
from siamese_lab.runs.files import LOCK
from siamese_lab.runs.links import check_no_way_out

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


def checked_lock(folder: Path) -> Path:
    """Return the path of the lock in a folder, which is missing or a regular file.

    Raises:
        ResourceError: if it is a link, folder, pipe or device, as in a folder of others.
    """
    path = folder / LOCK
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return path
    if not stat.S_ISREG(mode):
        raise ResourceError(f"{path} cannot be locked, because it is no regular file. Delete it.")
    return path


def lock_sweep(folder: Path) -> FileLock:
    """Lock the folder of a sweep until the lock is released or this process ends.

    Raises:
        UserError: if another sweep uses the folder, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(checked_lock(folder))
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
def run_alone(folder: Path) -> Iterator[None]:
    """Lock the folder of a single run. A file system without locks is used without a lock.

    Raises:
        ResourceError: if another process trains in the folder, or the folder cannot be written to.
        UserError: if a link in the folder leads out of it.
    """
    with disk_errors(folder, "paths.outputs"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(checked_lock(folder))
        check_no_way_out(folder)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ResourceError(
                f"Another process is training in {folder}. Wait until it has ended, or choose another folder: "
                "hydra.run.dir=FOLDER."
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_run(folder: Path) -> Iterator[None]:
    """Lock the folder of a run; wait while another process, such as a job of a killed sweep, holds the lock.

    Raises:
        UserError: if a link in the folder leads out of it.
    """
    with FileLock(checked_lock(folder)):
        check_no_way_out(folder)
        yield
