"""Read and check plain values from files of others: their types, their number and their size. Nothing in them runs.

Every JSON file that a command reads passes `read_json`, and every record is built by `build_record`, so the bounds and
the wording of the messages are stated once.
"""

import dataclasses
import errno
import json
import math
import sys
import types
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

MAX_BYTES = 32 << 20
"""Largest JSON file. A run of 20,000 validations writes less."""
MAX_DEPTH = 20
MAX_VALUES = 2_000_000
MAX_NUMBER, MAX_FLOAT = 10**18, 1e100
"""Largest absolute value of a whole number, and of any other number. Sums and squares of such numbers are finite."""
MAX_KEY, MAX_NAME, MAX_TEXT = 300, 200, 100_000
"""Largest number of characters of a key, of a name that tables and figures show, and of any other text."""
SHOWN = 60
"""Number of characters of a wrong value that a message shows."""

Record = TypeVar("Record")

WORDS: Mapping[Any, str] = types.MappingProxyType(
    {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "a dictionary",
        type(None): "null",
    }
)


class WrongValueError(ValueError):
    """Raised when values of a file break a bound or have another type; the message names the place and the value."""


class OtherFieldsError(WrongValueError):
    """Raised when a record lacks a field or has an unknown one, as records of another version do."""


def read_json(path: Path) -> Any:
    """Read a JSON file of at most `MAX_BYTES`, and check its values by `check_plain`.

    Raises:
        OSError: if the file does not exist, cannot be read, or is a folder, pipe or device.
        WrongValueError: if the file is larger, is no JSON, or breaks a bound.
    """
    check_regular(path)
    with path.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise WrongValueError(f"it has more than {MAX_BYTES:,} bytes")
    return parse_json(content)


def check_regular(path: Path) -> None:
    """Raise OSError unless a path leads to a regular file: a pipe never ends, and a device may hold endless bytes.

    Every reader of a file of others calls it before it opens the file.
    """
    if not path.is_file():
        kind = errno.EINVAL if path.exists() else errno.ENOENT
        raise OSError(kind, "it is no regular file" if path.exists() else "there is no such file", str(path))


def parse_json(content: str | bytes) -> Any:
    """Parse JSON text, and check its values by `check_plain`.

    Raises:
        WrongValueError: if the text is no JSON, repeats a key, or breaks a bound.
    """
    try:
        values = json.loads(content, object_pairs_hook=_object)
    except RecursionError:
        raise WrongValueError(f"its values are nested in more than {MAX_DEPTH} levels") from None
    except ValueError as error:  # no JSON, not UTF-8, or a number of more than 4,300 digits
        raise WrongValueError(shortened(str(error), 200)) from error
    check_plain(values)
    return values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Of two values with one key, readers keep different ones, so a repeated key is damage."""
    values = {sys.intern(key): value for key, value in pairs}  # thousands of runs share their keys
    if len(values) < len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise WrongValueError(f"the key {shortened(key)} occurs several times in one object")
    return values


def check_plain(values: Any, where: str = "") -> None:
    """Raise WrongValueError unless a tree holds only plain values, within the bounds of this module.

    A tree that holds itself, or the same part many times, exceeds the bound of depth or number.

    >>> check_plain({"a": [1, 2.5, None, "b"]})
    """
    left = MAX_VALUES
    waiting = [(values, 0, where)]
    while waiting:
        value, depth, place = waiting.pop()
        if isinstance(value, Mapping):
            check_keys(value, place)
            inner: Iterable[tuple[Any, Any]] = value.items()
        elif isinstance(value, (list, tuple)):
            inner = enumerate(value)
        else:
            check_scalar(value, place)
            continue
        left -= len(value)
        if left < 0:
            raise WrongValueError(f"it holds more than {MAX_VALUES:,} values")
        if value and depth == MAX_DEPTH:
            raise WrongValueError(f"its values are nested in more than {MAX_DEPTH} levels")
        waiting += [(each, depth + 1, joined(place, key)) for key, each in inner if not _is_usual(each)]


def _is_usual(value: Any) -> bool:
    """Return whether a value is within the bounds, for the values of most files. Their place is not needed."""
    kind = type(value)
    if kind is float:
        return bool(-MAX_FLOAT <= value <= MAX_FLOAT)
    if kind is int:
        return bool(-MAX_NUMBER <= value <= MAX_NUMBER)
    if kind is str:
        return len(value) <= MAX_KEY and value.isascii()
    return value is None or kind is bool


def check_keys(value: Mapping[Any, Any], place: str) -> None:
    """Raise WrongValueError unless all keys are texts of at most `MAX_KEY` printable characters."""
    for key in value:
        if not isinstance(key, str) or len(key) > MAX_KEY or not key.isprintable():
            raise wrong(place or "a dictionary", key, f"keys of at most {MAX_KEY} printable characters")


def check_scalar(value: Any, place: str) -> None:
    """Raise WrongValueError unless a value is null, true, false, a number or a text within the bounds."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise wrong(place, value, f"a text of at most {MAX_TEXT:,} characters")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise wrong(place, value, "a text that UTF-8 can write")
    elif isinstance(value, (int, float)):
        # NaN and infinity are values of metrics that are undefined.
        largest = MAX_NUMBER if isinstance(value, int) else MAX_FLOAT
        if (isinstance(value, int) or math.isfinite(value)) and abs(value) > largest:
            raise wrong(place, value, f"a number of at most {largest:.0e}")
    elif value is not None:
        raise WrongValueError(f"{place or 'it'} holds a {type(value).__name__}, expected plain values")


def check_name(value: Any, place: str) -> str:
    """Return a value that is a name: a text of 1 to `MAX_NAME` printable characters.

    Raises:
        WrongValueError: for any other value.
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable():
        raise wrong(place, value, f"a name of 1 to {MAX_NAME} printable characters")
    return value


def build_record(cls: type[Record], content: Any, place: str = "") -> Record:
    """Build a dataclass from a dictionary. Every value must have the type that the dataclass declares.

    Raises:
        WrongValueError: for an unknown or missing field, or a value of another type.
    """
    if not isinstance(content, Mapping):
        raise wrong(place, content, "a dictionary")
    kinds = _kinds(cls)  # type: ignore[arg-type]
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    for key in content:
        if key not in kinds:
            raise OtherFieldsError(f"the field {joined(place, key)} is unknown")
    for field in fields:
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in content:
            raise OtherFieldsError(f"the field {joined(place, field.name)} is missing")
    return cls(**{key: of_type(value, kinds[key], joined(place, key)) for key, value in content.items()})


@cache
def _kinds(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def of_type(value: Any, kind: Any, place: str) -> Any:
    """Return a value of the annotated type, in which dictionaries have become the dataclasses that the type names.

    Raises:
        WrongValueError: if the value has another type.

    >>> of_type([1, 2], list[int], "steps")
    [1, 2]
    """
    origin, members = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return build_record(kind, value, place)  # type: ignore[arg-type]
    if origin is Literal:
        if not any(value == member and type(value) is type(member) for member in members):
            raise wrong(place, value, f"one of {', '.join(map(str, members))}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in members:
            return None
        others = [member for member in members if member is not type(None)]
        if len(others) == 1:
            return of_type(value, others[0], place)
        if not any(is_plain_kind(value, member) for member in others):
            raise wrong(place, value, " or ".join(WORDS[member] for member in others))
        return value
    if origin in (list, Sequence) and isinstance(value, list):
        plain = _plain_types(members[0])
        return [
            each if type(each) in plain else of_type(each, members[0], f"{place}[{number}]")
            for number, each in enumerate(value)
        ]
    if origin in (dict, Mapping) and isinstance(value, dict):
        plain = _plain_types(members[1])
        return {
            key: each if type(each) in plain else of_type(each, members[1], joined(place, key))
            for key, each in value.items()
        }
    if not is_plain_kind(value, origin or kind):
        raise wrong(place, value, WORDS[list if (origin or kind) is Sequence else origin or kind])
    return value


@cache
def _plain_types(kind: Any) -> frozenset[type]:
    """Return the types of plain values that an annotation allows; an empty set if other values need a closer look."""
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    if not all(isinstance(member, type) and member in WORDS and member not in (list, dict) for member in members):
        return frozenset()
    return frozenset({*members, int} if float in members else members)


def whole_number(value: Any, place: str) -> int:
    """Return a value that is a whole number of at least 0.

    Raises:
        WrongValueError: for any other value.
    """
    number: int = of_type(value, int, place)
    if number < 0:
        raise wrong(place, value, "a number of at least 0")
    return number


def finite_number(value: Any, place: str) -> float:
    """Return a value that is a finite number.

    Raises:
        WrongValueError: for any other value.
    """
    if not is_plain_kind(value, float) or not math.isfinite(value):
        raise wrong(place, value, "a finite number")
    return float(value)


def is_plain_kind(value: Any, kind: Any) -> bool:
    """Return whether a plain value has a type. A whole number is also a number; true and false are no numbers."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def wrong(place: str, value: Any, expected: str) -> WrongValueError:
    """Return the error for a value, with the place, the value and the expected kind."""
    return WrongValueError(f"{place or 'the content'} is {shown(value)}, expected {expected}")


def shown(value: Any) -> str:
    """Return a value for a message. Python writes no whole number of more than 4,300 digits."""
    if isinstance(value, int) and value.bit_length() > 4 * SHOWN:
        return f"a number of {value.bit_length():,} bits"
    return shortened(repr(value))


def joined(place: str, key: Any) -> str:
    """Return the place of a value inside another value, such as `history[3].step`."""
    if isinstance(key, int):
        return f"{place}[{key}]"
    return f"{place}.{shortened(key)}" if place else shortened(key)


def shortened(text: str, length: int = SHOWN) -> str:
    """Return a text in one line without control characters, cut to a length."""
    if len(text) <= length and text.isprintable():
        return text
    printable = "".join(character if character.isprintable() else "�" for character in text[: length + 1])
    return printable if len(printable) <= length else f"{printable[:length]}…"
