"""Pack the results of all runs of a study into one compressed file, and find the results of a run in it.

Each line of `runs.jsonl.gz` is the results.json of one run, with its folder: `{"folder": …, "results": …}`. The lines
are sorted by folder and the file holds no time, so the same runs give the same bytes. A results.json in the folder of a
run counts before a packed one. gzip is used although xz needs half of the space: xz takes ten times as long to write.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from siamese_lab.errors import UserError
from siamese_lab.runs import results
from siamese_lab.runs.files import whole_file
from siamese_lab.runs.plain_values import MAX_BYTES, WrongValueError, check_regular, parse_json, read_json, wrong
from siamese_lab.runs.results import Results, read_results, results_from

FILE_NAME = "runs.jsonl.gz"
MAX_UNPACKED = 512 << 20
"""Largest number of bytes of all results in a packed file. 1,500 runs of Omniglot have 100 MB."""
MAX_FOLDER = 1000
"""Largest number of characters of the folder of a packed run."""
CURE = "Restore the packed file, or pack the folders of the runs again."


class RunRecord(NamedTuple):
    """The results of a run in a results.json, or in a line of a packed file."""

    folder: str
    """Folder of the run relative to the folder that was searched; for a damaged line, the name of the line."""
    path: Path
    """The results.json, or the packed file."""
    line: bytes | None = None
    """The line of the packed file; None for a results.json."""
    damage: str = ""
    """Reason why the line cannot be used, or an empty text."""

    def read(self) -> Results:
        """Return the checked results; every field has its declared type.

        Raises:
            OSError: if a results.json cannot be read.
            UserError: if the results are damaged or another version wrote them.
        """
        if self.line is None:
            return read_results(self.path.parent)
        return results_from(lambda: self.content()["results"], f"{self.folder} in {self.path}", CURE)

    def content(self) -> Any:
        """Return the folder and the plain results in the form of a line of a packed file.

        Raises:
            OSError: if a results.json cannot be read.
            WrongValueError: if the results are no JSON or break a bound.
        """
        if self.line is None:
            return {"folder": self.folder, "results": read_json(self.path)}
        if self.damage:
            raise WrongValueError(self.damage)
        return parse_json(self.line)


def run_records(folder: Path) -> list[RunRecord]:
    """Find the results of all runs below a folder, in results.json files and packed files, sorted by folder.

    A results.json hides the packed results of the same folder, and a packed file hides those of folders above it.
    Damaged lines are records too, and say so when they are read.
    """
    found: dict[str, RunRecord] = {}
    for path in folder.rglob(results.FILE_NAME):
        below = path.parent.relative_to(folder).as_posix()
        found[below] = RunRecord(below, path)
    for packed in sorted(folder.rglob(FILE_NAME), key=lambda path: -len(path.parts)):
        above = packed.parent.relative_to(folder)
        for record in packed_records(packed):
            below = (above / record.folder).as_posix()
            found.setdefault(below, record._replace(folder=below))
    return [found[below] for below in sorted(found, key=lambda below: (*PurePosixPath(below).parts, results.FILE_NAME))]


def packed_records(path: Path) -> Iterator[RunRecord]:
    """Yield a record for each line of a packed file; a damaged line, or a damaged end of the file, is one record.

    Raises:
        OSError: if the file cannot be read, or is a folder, pipe or device.
    """
    check_regular(path)
    seen: set[str] = set()
    number = unpacked = 0
    with gzip.open(path, "rb") as stream:
        while True:
            number += 1
            name = f"{FILE_NAME}, line {number}"
            try:
                line = stream.readline(MAX_BYTES + 1)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                yield RunRecord(name, path, b"", f"the file ends or is damaged there ({error})")
                return
            unpacked += len(line)
            if not line:
                return
            if len(line) > MAX_BYTES or unpacked > MAX_UNPACKED:
                bound = f"a line has more than {MAX_BYTES:,} bytes, or all lines more than {MAX_UNPACKED:,}"
                yield RunRecord(name, path, b"", f"{bound}; the lines from there on are not read")
                return
            yield _record(line, name, path, seen)


def _record(line: bytes, name: str, path: Path, seen: set[str]) -> RunRecord:
    try:
        content = json.loads(line)
        folder = checked_folder(content.get("folder") if isinstance(content, dict) else None)
        if content.keys() != {"folder", "results"}:
            raise WrongValueError("a line has other parts than folder and results")
        if folder in seen:
            raise WrongValueError(f"the folder {folder} is also in an earlier line")
    except (ValueError, RecursionError) as error:
        return RunRecord(name, path, line, str(error) or "it is no JSON")
    seen.add(folder)
    return RunRecord(folder, path, line)


def checked_folder(value: Any) -> str:
    """Return the folder of a packed run: a relative path with single slashes that does not lead upwards.

    Raises:
        WrongValueError: for any other value.
    """
    if isinstance(value, str) and 0 < len(value) <= MAX_FOLDER and value.isprintable():
        path = PurePosixPath(value)
        if not path.is_absolute() and ".." not in path.parts and path.as_posix() == value and "\\" not in value:
            return value
    raise wrong("folder", value, f"a relative path of at most {MAX_FOLDER:,} printable characters")


class Packed(NamedTuple):
    """Says which file was written, and what it holds."""

    path: Path
    runs: int
    left_out: list[str]
    """Reason why each of the damaged results.json was left out."""


def pack(folder: Path, records: list[RunRecord]) -> Packed:
    """Write the packed file of a folder, and return what it holds.

    Args:
        folder: the folder of the study.
        records: the records of its runs, as returned by `run_records`.

    Raises:
        UserError: if a line of an earlier packed file is damaged, because packing again would lose its run.
    """
    lines, left_out = [], []
    for record in records:
        try:
            record.read()
            lines.append(_line(record))
        except (OSError, UserError) as error:
            if record.line is not None:
                raise UserError(str(error)) from error
            left_out.append(str(error))
    path = folder / FILE_NAME
    with (
        whole_file(path) as draft,
        draft.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=raw, mtime=0) as stream,
    ):
        stream.writelines(lines)
    return Packed(path, len(lines), left_out)


def _line(record: RunRecord) -> bytes:
    content = {"folder": record.folder, "results": record.content()["results"]}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def find_results(folder: Path) -> Results:
    """Read the results of a run from its folder, or else those of a finished run from a packed file above it.

    Packed results come without validations, telemetry and results of classes, which no sweep needs.

    Raises:
        OSError: if the run has neither.
        UserError: if its results.json or the packed file is damaged, or another version wrote them.
    """
    try:
        return read_results(folder)
    except FileNotFoundError:
        found = find_packed(folder)
        if found is None:
            raise
        return found


def find_packed(folder: Path) -> Results | None:
    """Return the results of a finished run from the nearest packed file above its folder; None if it has none.

    Raises:
        UserError: if a line of the packed file is damaged.
    """
    folder = folder.absolute()
    for above in folder.parents:
        path = above / FILE_NAME
        if path.is_file():
            state = path.stat()
            return _finished(path, state.st_mtime_ns, state.st_size).get(folder.relative_to(above).as_posix())
    return None


@lru_cache(maxsize=2)
def _finished(path: Path, changed: int, size: int) -> dict[str, Results]:
    """Return the finished runs of a packed file by folder. `changed` and `size` tell versions of the file apart."""
    found = {}
    for record in packed_records(path):
        run = record.read()
        if run.status == "finished":
            found[record.folder] = replace(run, history=[], seconds_of_history=[], telemetry=[], per_class=None)
    return found


def check_packed(folder: Path) -> None:
    """Check the packed file of a folder or above it, before its runs count as finished.

    Raises:
        UserError: if a line is damaged, because its run would start again.
    """
    find_packed(folder / results.FILE_NAME)
