"""Pack the results of all runs of a study into one compressed file, and find the results of a run in it.

Each line of `runs.jsonl.gz` is the results.json of one run, with its folder: `{"folder": …, "results": …}`. The lines
are sorted by folder and the file holds no time, so the same runs give the same bytes. A results.json in the folder of a
run counts before a packed one, unless only the packed run has finished. gzip is used although xz needs half of the
space: xz takes ten times as long to write.

The file may come from anyone. Its checksum and its bounds are checked before a line is used.
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
MAX_PACKED, MAX_UNPACKED = 64 << 20, 512 << 20
"""Largest number of bytes of a packed file, and of all its lines. 1,500 runs of Omniglot have 8 MB and 100 MB."""
MAX_LINES = 10_000
"""Largest number of runs in a packed file."""
CHUNK = 1 << 20
GZIP = 16 + zlib.MAX_WBITS
MAX_FOLDER = 1000
"""Largest number of characters of the folder of a packed run."""
DIVIDE = "Pack each of its subfolders into its own file."
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
    note: str = ""
    """Sentence about a results.json that differs from the packed results of its folder: it names what counts."""

    def read(self) -> Results:
        """Return the checked results; every field has its declared type.

        Raises:
            OSError: if a results.json cannot be read.
            UserError: if the results are damaged or another version wrote them.
        """
        if self.line is None:
            return read_results(self.path.parent)
        return results_from(lambda: self.content()["results"], self.place, CURE)

    @property
    def place(self) -> str:
        """The name of the record in messages."""
        if self.line is None:
            return str(self.path)
        return str(self.path) if self.damage else f"{self.folder} in {self.path}"

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

    A results.json hides the packed results of the same folder, unless only the packed run has finished. A packed file
    hides those of folders above it. Damaged lines are records too, and say so when they are read.
    """
    found: dict[str, RunRecord] = {}
    for path in folder.rglob(results.FILE_NAME):
        below = path.parent.relative_to(folder).as_posix()
        found[below] = RunRecord(below, path)
    for packed in sorted(folder.rglob(FILE_NAME), key=lambda path: -len(path.parts)):
        above = packed.parent.relative_to(folder)
        for record in packed_records(packed):
            below = (above / record.folder).as_posix()
            packed_one = record._replace(folder=below)
            own = found.setdefault(below, packed_one)
            if own is not packed_one and own.line is None:
                found[below] = preferred(own, packed_one)
    return [found[below] for below in sorted(found, key=lambda below: (*PurePosixPath(below).parts, results.FILE_NAME))]


def preferred(own: RunRecord, packed: RunRecord) -> RunRecord:
    """Return the record that counts of a results.json and the packed results of the same folder, with a note."""
    try:
        before = packed.read()
    except UserError:
        return own
    try:
        now = own.read()
    except (OSError, UserError) as error:
        return packed._replace(
            note=f"The packed results count, because its {results.FILE_NAME} cannot be used: {error}"
        )
    if before.status == "finished" != now.status:
        return packed._replace(
            note=f"The packed results count, because its {results.FILE_NAME} says {now.status!r}, not 'finished'."
        )
    if before.status == "finished" and now != before:
        return own._replace(note=f"Its {results.FILE_NAME} counts, and differs from the packed results.")
    return own


def packed_records(path: Path) -> Iterator[RunRecord]:
    """Yield a record for each line of a packed file. A file that cannot be used as a whole is one damaged record."""
    try:
        check_packed_file(path)
    except (OSError, WrongValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        yield RunRecord(FILE_NAME, path, b"", f"none of its runs is used, because {reason}")
        return
    seen: set[str] = set()
    with gzip.open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            yield _record(line, number, path, seen)


def check_packed_file(path: Path) -> None:
    """Read a packed file to its end: check its sizes, its number of lines and its checksum.

    Raises:
        OSError: if the file cannot be read, or is a folder, pipe or device.
        WrongValueError: if it breaks a bound, is damaged or truncated, or is more than one gzip member.
    """
    check_regular(path)
    if (size := path.stat().st_size) > MAX_PACKED:
        raise WrongValueError(f"it has {size:,} bytes, expected at most {MAX_PACKED:,}")
    member, unpacked, lines, open_line = zlib.decompressobj(GZIP), 0, 0, 0
    with path.open("rb") as stream:
        while not member.eof:
            given = member.unconsumed_tail or stream.read(CHUNK)
            try:
                chunk = member.decompress(given, CHUNK)
            except zlib.error as error:
                raise WrongValueError(f"it is damaged ({error})") from error
            if not given and not chunk:
                raise WrongValueError("it is truncated")
            unpacked, lines = unpacked + len(chunk), lines + chunk.count(b"\n")
            if unpacked > MAX_UNPACKED or lines > MAX_LINES:
                raise WrongValueError(
                    f"it holds more than {MAX_LINES:,} runs, or more than {MAX_UNPACKED:,} bytes of them"
                )
            first, *others = chunk.split(b"\n")
            longest = max(open_line + len(first), *map(len, others), 0)
            open_line = len(others[-1]) if others else open_line + len(first)
            if longest > MAX_BYTES:
                raise WrongValueError(f"a line has more than {MAX_BYTES:,} bytes")
        if member.unused_data or stream.read(1):
            raise WrongValueError("more data follows its end")


def _record(line: bytes, number: int, path: Path, seen: set[str]) -> RunRecord:
    try:
        content = json.loads(line)
        folder = checked_folder(content.get("folder") if isinstance(content, dict) else None)
        if content.keys() != {"folder", "results"}:
            raise WrongValueError("a line has other parts than folder and results")
        if folder in seen:
            raise WrongValueError(f"the folder {folder} is also in an earlier line")
    except (ValueError, RecursionError) as error:
        reason = f"line {number}: {str(error) or 'it is no JSON'}"
        return RunRecord(f"{FILE_NAME}, line {number}", path, line, reason)
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
    notes: list[str]
    """Sentence for each folder with a results.json that differs from its packed results."""


def pack(folder: Path, records: list[RunRecord]) -> Packed:
    """Write the packed file of a folder, and return what it holds.

    Args:
        folder: the folder of the study.
        records: the records of its runs, as returned by `run_records`.

    Raises:
        UserError: if a line of an earlier packed file is damaged, because packing again would lose its run, or if
            there are too many runs.
    """
    if len(records) > MAX_LINES:
        raise UserError(f"{folder} holds {len(records):,} runs, expected at most {MAX_LINES:,}. {DIVIDE}")
    lines, left_out = [], []
    for record in records:
        try:
            lines.append(_line(record))
        except (OSError, UserError) as error:
            if record.line is not None:
                raise UserError(str(error)) from error
            left_out.append(str(error))
    if sum(map(len, lines)) > MAX_UNPACKED:
        raise UserError(f"The results of the {len(lines):,} runs have more than {MAX_UNPACKED:,} bytes. {DIVIDE}")
    path = folder / FILE_NAME
    with (
        whole_file(path) as draft,
        draft.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=raw, mtime=0) as stream,
    ):
        stream.writelines(lines)
    return Packed(path, len(lines), left_out, [f"{each.folder}: {each.note}" for each in records if each.note])


def _line(record: RunRecord) -> bytes:
    """Return the line of a record, and check its results.

    Raises:
        OSError, UserError: as `RunRecord.read`.
    """
    plain: dict[str, Any] = {}

    def read() -> Any:
        plain.update(record.content())
        return plain["results"]

    results_from(read, record.place, CURE)
    content = {"folder": record.folder, "results": plain["results"]}
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


@lru_cache(maxsize=32)  # a study can have a packed file for each data set, and its jobs alternate between them
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
