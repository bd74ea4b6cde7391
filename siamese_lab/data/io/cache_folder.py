"""The cache: a folder that several processes write to, one at a time for each thing in it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from siamese_lab.data.io.messages import announce
from siamese_lab.errors import ResourceError

LOCKS = ".locks"


@contextmanager
def one_at_a_time(place: Path, doing: str) -> Iterator[None]:
    """Let one process at a time into the block, of all those that name this place.

    The lock falls with the process that holds it, also when that is killed.

    Args:
        place: what the block makes; its folder is made here.
        doing: what others are told that wait: "downloading".

    Raises:
        UserError: if nothing can be written there.
    """
    with writing_to(place.parent):
        (place.parent / LOCKS).mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.parent / LOCKS / f"{place.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            announce(f"Another process is {doing} {place.name}: waiting for it.")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Say of an error of the file system what to do about it.

    Raises:
        UserError: in place of OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                f"There is no space left to write to {folder}. Free some, or set paths.cache to a folder on another "
                "disk."
            ) from error
        raise ResourceError(
            f"The lab keeps what it downloads and decodes in {folder}, but cannot write there "
            f"({error.strerror or error}). Set paths.cache to a folder that it may write to."
        ) from error
