"""Read a CSV or Parquet file as columns of text, with the place of each row for messages."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from siamese_lab.errors import ResourceError, UserError

CSV, PARQUET = (".csv", ".tsv", ".txt"), (".parquet", ".pq")
DELIMITERS = (",", ";", "\t")
MAX_BYTES = 1_000_000_000
"""Largest table that is read; ten million images have such a table."""
MAX_ROWS = 20_000_000
MAX_UNPACKED = 8_000_000_000
"""Largest size of the content of a Parquet file in memory, in bytes."""
MISSING = frozenset({"", "nan", "null", "none", "<na>", "n/a", "#n/a"})
"""Texts that stand for a missing value, in lower case."""
LONGEST_HEADER = 1_000_000
"""Number of characters of the first line in which the delimiter is searched."""
SHOWN = 20
"""Number of columns that a message names."""


class TableFile(NamedTuple):
    """The wanted columns of a table."""

    path: Path
    columns: dict[str, list[str]]
    """The text of each row by the name of the column; missing values of a Parquet file are empty."""
    numbers: list[int]
    """Number of each row: of its last line in a CSV file, and counted from 1 in a Parquet file."""
    unit: str
    """The word for a numbered place in the file: "line" or "row"."""

    def __len__(self) -> int:
        return len(self.numbers)

    def place(self, row: int, *columns: str) -> str:
        """Return the place of a value for messages, such as "birds.csv, line 7, column label"."""
        named = f", column{'s' * (len(columns) > 1)} {', '.join(columns)}" if columns else ""
        return f"{self.path.name}, {self.unit} {self.numbers[row]:,}{named}"


class Columns(NamedTuple):
    """The columns to read, each with the option that names it, such as `data.label_column`."""

    required: Mapping[str, str]
    optional: Mapping[str, str]


def read_table(path: Path, wanted: Columns, encoding: str = "utf-8") -> TableFile:
    """Read columns of a table. Columns in `optional` are left out if the table lacks them.

    Args:
        path: a file with a suffix of `CSV` or `PARQUET`.
        wanted: the columns. Two of them may not have one name.
        encoding: encoding of the text of a CSV file.

    Raises:
        UserError: if the file cannot be read, has no row, lacks a required column, or a line of it has another number
            of values than its header.
    """
    suffix = path.suffix.lower()
    if suffix not in CSV + PARQUET:
        raise UserError(f"data.file is {path}, but a table is a {', '.join(CSV + PARQUET)} file. Convert it.")
    check_file(path)
    table = _read_parquet(path, wanted) if suffix in PARQUET else _read_csv(path, wanted, encoding)
    if not len(table):
        raise UserError(f"{path} has no rows, so there is no image. Write one row for each image below the header.")
    return table


def check_file(path: Path) -> None:
    """Raise ResourceError unless the path is a regular file of at most `MAX_BYTES` bytes that can be read."""
    try:
        if not path.is_file():
            what = "a folder, a pipe or a device" if path.exists() else "missing"
            raise ResourceError(
                f"data.file is {path}, but this file is {what}. Set data.file to a .csv or .parquet file."
            )
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise ResourceError(f"data.file is {path}, but it cannot be read ({error.strerror or error}).") from error
    if size > MAX_BYTES:
        raise ResourceError(
            f"{path} has {size:,} bytes, but a table has at most {MAX_BYTES:,}. Remove columns or rows."
        )


def is_missing(text: str) -> bool:
    """Return whether a text stands for a missing value: empty, nan, null, none, <NA>, N/A or #N/A."""
    return text.lower() in MISSING


def _read_csv(path: Path, wanted: Columns, encoding: str) -> TableFile:
    try:
        codec = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
        "path".encode(codec)
    except LookupError as error:
        raise UserError(
            f"data.encoding={encoding} is no encoding. Examples: utf-8, latin-1, cp1252, utf-16."
        ) from error
    numbers: list[int] = []
    try:
        with path.open(encoding=codec, newline="", errors="replace") as file:
            header_line = next((line for line in iter(lambda: file.readline(LONGEST_HEADER), "") if line.strip()), "")
        delimiter = max(DELIMITERS, key=header_line.count)
        with path.open(encoding=codec, newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next((values for values in reader if any(map(str.strip, values))), [])]
            names = _found(path, header, wanted)
            at = {name: header.index(name) for name in names}
            columns: dict[str, list[str]] = {name: [] for name in names}
            for values in _lines(path, reader, len(header)):
                for name, column in columns.items():
                    column.append(values[at[name]].strip())
                numbers.append(reader.line_num)
    except UnicodeError as error:
        raise UserError(
            f"{path}, line {_line_of(path, error)}: the bytes are not {encoding} ({_reason(error)}). Save the table as "
            "UTF-8, or set data.encoding, for example to latin-1, cp1252 or utf-16."
        ) from error
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}, cannot be read as CSV ({error}). Correct it.") from error
    return TableFile(path, columns, numbers, "line")


def _lines(path: Path, reader: Any, width: int) -> Iterator[list[str]]:
    """Yield the values of each line; skip empty lines."""
    for values in reader:
        if not values:
            continue
        if len(values) != width:
            raise UserError(
                f"{path.name}, line {reader.line_num:,}, has {len(values)} values, but the header has {width} columns. "
                "Put a value that contains the delimiter in double quotes."
            )
        yield values


def _reason(error: UnicodeError) -> str:
    return error.reason if isinstance(error, UnicodeDecodeError) else str(error)


def _line_of(path: Path, error: UnicodeError) -> str:
    """Return the number of the first line that cannot be decoded, or "?" if each line by itself can be decoded."""
    if not isinstance(error, UnicodeDecodeError):
        return "1"
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode(error.encoding)
            except UnicodeError:
                return f"{number:,}"
    return "?"


def _found(path: Path, header: Sequence[str], wanted: Columns) -> list[str]:
    """Return the wanted columns that the table has."""
    if not any(header):
        raise UserError(f"{path} is empty. The first line of a table names its columns, such as path,label,split.")
    missing = [name for name in wanted.required if name not in header]
    if missing:
        shown = ", ".join(header[:SHOWN]) + (", …" if len(header) > SHOWN else "")
        raise UserError(
            f"{path} has no column {' and no column '.join(missing)}. Its columns are {shown}. Set "
            f"{' and '.join(wanted.required[name] for name in missing)} to the "
            f"{'columns that hold them' if len(missing) > 1 else 'column that holds it'}."
        )
    check_spelling(path, header, wanted)
    names = [name for name in (*wanted.required, *wanted.optional) if name in header]
    if twice := [name for name in names if header.count(name) > 1]:
        raise UserError(f"{path} has {header.count(twice[0])} columns called {twice[0]}. Rename all but one of them.")
    return names


def check_spelling(path: Path, header: Sequence[str], wanted: Columns) -> None:
    """Raise UserError if an optional column is absent, but another column has the same letters and digits.

    Such a column would be ignored, so the images would silently be divided or compared in another way.
    """
    simplified = {_letters(name): name for name in header}
    for name, option in wanted.optional.items():
        other = simplified.get(_letters(name))
        if name in header or other is None:
            continue
        raise UserError(
            f"{path} has no column {name}, but a column {other}. Rename it to {name}, or set {option} to the name that "
            "it has. If it is another thing, set the option to null."
        )


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _read_parquet(path: Path, wanted: Columns) -> TableFile:
    parquet = _pyarrow_parquet(path)
    import pyarrow

    try:
        with parquet.ParquetFile(path) as file:
            names = _found(path, file.schema_arrow.names, wanted)
            _check_size(path, file.metadata)
            check_types(path, file.schema_arrow, names)
            columns = {name: [_text(value) for value in file.read(columns=[name])[name].to_pylist()] for name in names}
    except (OSError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise ResourceError(
            f"{path} cannot be read as a Parquet file ({reason}). It is damaged: replace it."
        ) from error
    return TableFile(path, columns, list(range(1, len(columns[names[0]]) + 1)), "row")


def _pyarrow_parquet(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ResourceError(
            f"{path} is a Parquet file, which needs pyarrow, but pyarrow is not installed. Run `pip install "
            "'siamese_lab[parquet]'`, or save the table as .csv."
        ) from error
    return pyarrow.parquet


def check_types(path: Path, schema: Any, names: Sequence[str]) -> None:
    """Raise UserError if a column of a Parquet file holds lists, structures or bytes: their text would be no name."""
    from pyarrow import types

    tests = (types.is_nested, types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    for name in names:
        kind = schema.field(name).type
        if any(test(kind) for test in tests):
            raise UserError(
                f"{path}, column {name}, holds values of the type {kind}, but text or numbers are expected. Save this "
                "column as text."
            )


def _check_size(path: Path, metadata: Any) -> None:
    """Raise ResourceError if the metadata of a Parquet file announces more than this module reads."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    unpacked = sum(group.total_byte_size for group in groups)
    if metadata.num_rows > MAX_ROWS or unpacked > MAX_UNPACKED:
        raise ResourceError(
            f"{path} announces {metadata.num_rows:,} rows of {unpacked:,} bytes, but a table has at most {MAX_ROWS:,} "
            f"rows of {MAX_UNPACKED:,} bytes. Replace it."
        )


def _text(value: Any) -> str:
    """Return a value of a Parquet file as text: "" for a missing one, and whole numbers without a fraction.

    >>> _text(None), _text(float("nan")), _text(3.0), _text(2.5), _text(True), _text("a ")
    ('', '', '3', '2.5', 'True', 'a')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
