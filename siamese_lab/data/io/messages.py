"""Messages about files: one-line announcements, and errors of the file system that say how to fix them.

Announcements and progress bars go to standard error. A log file shows no progress bar.
"""

import errno
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from siamese_lab.errors import ResourceError

console = Console(stderr=True, soft_wrap=True)
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


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn an error while reading into a UserError that names the file.

    Raises:
        UserError: instead of the many exceptions that archive libraries raise.
    """
    try:
        yield
    except tarfile.ReadError as error:
        raise ResourceError(
            f"{path} should be a zip or tar archive, but cannot be read as one ({error}). "
            "It is truncated or another file: replace it."
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise ResourceError(f"{path} cannot be read ({error}). It is damaged or incomplete: replace it.") from error
