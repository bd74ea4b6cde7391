"""The lock of the cache folder: several processes share the folder, and one at a time writes each file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from siamese_lab.data.io.messages import announce, writing_to

LOCKS = ".locks"


@contextmanager
def one_at_a_time(path: Path, doing: str) -> Iterator[None]:
    """Let one process at a time into the block, among all processes that lock this path.

    The lock is released when its process ends, even if the process is killed.

    Args:
        path: the file or folder that the block makes. Its parent folder is created here.
        doing: a word for the message that waiting processes print: "downloading".

    Raises:
        UserError: if the parent folder is not writable.
    """
    with writing_to(path.parent):
        (path.parent / LOCKS).mkdir(parents=True, exist_ok=True)
        place = path.parent / LOCKS / f"{path.name}.lock"
        if place.is_symlink():  # locking would empty the file that it points to
            place.unlink()
        lock = FileLock(place)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            announce(f"Another process is {doing} {path.name}: waiting for it.")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
