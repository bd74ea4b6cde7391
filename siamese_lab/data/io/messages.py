"""Messages about files: one-line announcements, and errors of the file system that say how to fix them.

Announcements and progress bars go to standard error. A log file shows no progress bar.
"""

import errno
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import IO

from siamese_lab.errors import ResourceError, UserError
from siamese_lab.runs.console import new_console

console = new_console(stderr=True, soft_wrap=True)
SHOWN = 5
"""Number of files that a message names."""


def announce(line: str) -> None:
    """Print one line about the user's files on standard error."""
    console.print(line, markup=False, highlight=False, style="dim")


def announce_skipped(complaints: Sequence[str], count: int) -> None:
    """Print why images are skipped: a line for each of the first, and one line that counts them.

    Args:
        complaints: one sentence for each skipped image.
        count: number of images, including the skipped ones.
    """
    for complaint in complaints[:SHOWN]:
        announce(f"Skipped: {complaint}")
    if complaints:
        announce(f"{len(complaints):,} of {count:,} images are skipped (skip_unreadable), because they cannot be read.")


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn an OSError while writing into a UserError that says how to fix it.

    Raises:
        UserError: instead of OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                f"There is no space left to write to {folder}. Free some space, or set paths.cache to a folder on "
                "another disk."
            ) from error
        raise ResourceError(
            f"siamese_lab keeps downloads and decoded images in {folder}, but cannot write there "
            f"({error.strerror or error}). Set paths.cache to a writable folder."
        ) from error


UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    RuntimeError,
    MemoryError,
    OSError,
    ValueError,
    OverflowError,
    IndexError,
    KeyError,
)
"""Exceptions that archive libraries raise at damaged or hostile files."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn an error while reading into a UserError that names the file. Refuse pipes and devices, which have no end.

    Raises:
        UserError: instead of the many exceptions that archive libraries raise.
    """
    try:
        mode = path.stat().st_mode if path.exists() else stat.S_IFREG
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ResourceError(f"{path} should be a file, but is a pipe or a device: replace it.")
        yield
    except UserError:
        raise
    except tarfile.ReadError as error:
        raise ResourceError(
            f"{path} should be a zip or tar archive, but cannot be read as one ({error}). "
            "It is truncated or another file: replace it."
        ) from error
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ResourceError(f"{path} cannot be read ({reason}). It is damaged or incomplete: replace it.") from error


def faults(check: Callable[[], list[str]]) -> list[str]:
    """Return the faults that a check returns. If it raises UserError, that message is the fault."""
    try:
        return check()
    except UserError as error:
        return [str(error)]


def read_file(path: Path, most: int) -> bytes:
    """Return the content of a file of at most `most` bytes.

    Raises:
        UserError: if the file is larger, or cannot be read.
    """
    with readable(path), path.open("rb") as stream:
        return bounded(path, stream, most)


def bounded(path: Path, stream: IO[bytes] | BufferedIOBase, most: int) -> bytes:
    """Return all that a stream of a file holds. Not much more than `most` bytes are read.

    Raises:
        UserError: if there are more than `most` bytes.
    """
    content = stream.read(most + 1)
    if len(content) > most:
        raise ResourceError(f"{path} holds more than {most:,} bytes, and so is another file than expected: replace it.")
    return content
