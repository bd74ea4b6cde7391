"""Write files completely or not at all, and delete the files that an earlier report left behind."""

import json
import os
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

LOCK = ".lock"
"""Name of the file that locks the folder of a run or sweep."""
DRAFT = re.compile(r"\.[0-9a-f]{32}\.draft(\.|$)")
"""Part of the name of a file that is not complete yet."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield the path of a draft in the folder of a file. The draft becomes the file if the block ends without an error.

    The draft is flushed to the disk before it is renamed, so that a power failure, a full disk or a killed process
    leaves either the old file or the complete new file. The temporary folder of the system is not used.

    Args:
        path: path of the file; the draft keeps its suffix, because many writers choose the format by the suffix.
    """
    draft = path.with_name(f"{path.stem}.{uuid4().hex}.draft{path.suffix}")  # another process may write the file too
    try:
        yield draft
        flush_to_disk(draft)
        draft.replace(path)
        flush_to_disk(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk. Not every file system can flush a folder."""
    if path.is_dir():
        with suppress(OSError):
            _flush(path, os.O_RDONLY)
    else:
        _flush(path, os.O_RDWR)


def _flush(path: Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> Path:
    """Write a text file in UTF-8 completely or not at all, with the line ends of the text."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")
    return path


def write_json(path: Path, content: Any, allow_nan: bool = True) -> Path:
    """Write a JSON file completely or not at all: a concurrent reader sees the old file or the complete new file.

    Raises:
        ValueError: if the content holds NaN and `allow_nan` is False.
    """
    return write_text(path, as_json(content, allow_nan))


def as_json(content: Any, allow_nan: bool = True) -> str:
    """Return content as the text of a JSON file."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=allow_nan) + "\n"


def delete_drafts(folder: Path) -> None:
    """Delete the drafts that killed processes left below a folder. No process may write to the folder meanwhile."""
    for path in folder.rglob("*.draft*"):
        if is_draft(path):
            path.unlink(missing_ok=True)


def is_draft(path: Path) -> bool:
    """Return whether a path is that of a draft, by its name."""
    return DRAFT.search(path.name) is not None


def delete_stale_files(folder: Path, names: Container[str], suffixes: Sequence[str]) -> None:
    """Delete the files that an earlier report wrote and the current report did not write.

    A file counts as written by a report only if files with all suffixes exist for its name. Every other file belongs
    to the user and is kept.

    Args:
        folder: the folder of the report.
        names: the names, without suffix, that the current report wrote.
        suffixes: all suffixes that a report writes for a name, such as (".csv", ".md").
    """
    for first in sorted(folder.glob(f"*{suffixes[0]}")):
        paths = [first.with_suffix(suffix) for suffix in suffixes]
        if first.stem not in names and all(path.is_file() for path in paths):
            for path in paths:
                path.unlink()
