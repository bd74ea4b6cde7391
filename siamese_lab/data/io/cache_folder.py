"""The cache: a folder that several processes write to, one at a time for each thing in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from siamese_lab.data.io.messages import announce, writing_to

LOCKS = ".locks"


@contextmanager
def one_at_a_time(path: Path, doing: str) -> Iterator[None]:
    """Let one process at a time into the block, of all those that name this path.

    The lock falls with the process that holds it, also when that is killed.

    Args:
        path: what the block makes; its folder is made here.
        doing: what others are told that wait: "downloading".

    Raises:
        UserError: if nothing can be written there.
    """
    with writing_to(path.parent):
        (path.parent / LOCKS).mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.parent / LOCKS / f"{path.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            announce(f"Another process is {doing} {path.name}: waiting for it.")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
