"""Keep space on the disk for the last record of a run, so that a full disk cannot hide how the run ended.

A record is replaced by a new file, because rewriting a file in place leaves it incomplete if the process is killed
meanwhile. A new file needs free space, so a running run keeps as much as its last record may need.
"""

import os
from pathlib import Path

NAME = ".reserve"
FACTOR = 2
"""The last record is longer than the current one: it adds the metrics of the test."""
SMALLEST = 64 * 1024


def keep(folder: Path, size: int) -> None:
    """Keep space for a record that currently has `size` bytes.

    Raises:
        OSError: if there is not enough space.
    """
    path, wanted = folder / NAME, max(SMALLEST, FACTOR * size)
    if path.is_symlink() or (path.exists() and not path.is_file()):  # in a folder of others: it may lead elsewhere
        path.unlink()
    kept = path.stat().st_size if path.is_file() else 0
    if kept >= wanted:
        return
    try:
        with path.open("ab") as file:
            file.write(bytes(wanted - kept))  # zeros are written, because a file with holes occupies no space
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def release(folder: Path) -> None:
    """Free the space that `keep` has kept, if any."""
    (folder / NAME).unlink(missing_ok=True)
