"""Write JSON files atomically, and delete the files that an earlier report left behind."""

import json
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4


def write_json(path: Path, content: Any, allow_nan: bool = True) -> Path:
    """Write a JSON file atomically: a concurrent reader sees either the old file or the complete new file.

    Raises:
        ValueError: if the content holds NaN and `allow_nan` is False.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=allow_nan) + "\n"
    draft = path.with_name(f"{path.name}.{uuid4().hex}.draft")  # another process may write the same file now
    try:
        draft.write_text(text, encoding="utf-8")
        return draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


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
