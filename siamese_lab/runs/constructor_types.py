"""Check stored options against the types that the constructors of their classes declare."""

import inspect
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from siamese_lab.registry import option_name
from siamese_lab.runs.plain_values import wrong


def check_arguments(group: str, classes: Sequence[type], options: Mapping[str, Any]) -> None:
    """Raise WrongValueError for an option of another type than the constructor of its class declares."""
    kinds: dict[str, Any] = {}
    for cls in classes:
        for ancestor in reversed(inspect.getmro(cls)):
            if "__init__" in vars(ancestor) and ancestor is not object:
                hints = get_type_hints(vars(ancestor)["__init__"])
                kinds |= {option_name(name): kind for name, kind in hints.items()}
    for option, value in options.items():
        if option in kinds and not is_allowed(value, kinds[option]):
            named = getattr(kinds[option], "__name__", str(kinds[option]))
            raise wrong(f"{group}.{option}", value, f"a value of the type {named}")


def is_allowed(value: Any, kind: Any) -> bool:
    """Return whether an annotation allows a plain value. An annotation of another class allows every value.

    >>> is_allowed(3, float | None), is_allowed("3", int)
    (True, False)
    """
    origin, members = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(is_allowed(value, member) for member in members)
    if origin is Literal:
        return value in members
    kind = origin or kind
    if kind in (None, type(None)):
        return value is None
    if kind in (bool, int, float, str):
        plain = (int, float) if kind is float else kind
        return isinstance(value, plain) and (kind is bool or not isinstance(value, bool))
    if kind in (Path, PathLike):
        return isinstance(value, str)
    if kind in (list, tuple, Sequence):
        return isinstance(value, list) and all(is_allowed(each, member) for member in members[:1] for each in value)
    return isinstance(value, Mapping) if kind in (dict, Mapping) else True
