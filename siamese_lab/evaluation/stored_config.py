"""Check the configuration that a checkpoint stores before a part is built from it.

The file may come from anyone. Its options need known names, the types of the constructor that they are passed to, and
sizes within `siamese_lab.runs.option_bounds`. Its folders are only read; none of them is written to.
"""

import inspect
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from siamese_lab.data import registry as data_registry
from siamese_lab.networks.siamese import SiameseNetwork
from siamese_lab.networks.siamese import registry as network_registry
from siamese_lab.runs.option_bounds import check_bound
from siamese_lab.runs.options import flatten
from siamese_lab.runs.plain_values import check_name, of_type, wrong

NAMED = ("data", "sampler", "loss", "network", "optimizer", "schedule")
"""Groups of a configuration that name a part. Names occur in the names of files, so they hold no separator."""
SEPARATORS = ("/", "\\")


def check_choices(choices: Mapping[str, Any]) -> None:
    """Raise WrongValueError if a stored configuration cannot come from a run, or has values outside of the bounds."""
    for group in NAMED:
        if group in choices:
            check_part_name(of_type(choices[group], dict[str, Any], group).get("name"), f"{group}.name")
    of_type(choices["seed"], int, "seed")
    for folder in ("data", "cache"):
        of_type(of_type(choices["paths"], dict[str, Any], "paths").get(folder), str | None, f"paths.{folder}")
    for option, value in flatten(choices).items():
        check_bound(option, value)
    data_set = data_registry.classes.get(choices["data"]["name"])
    backbone = network_registry.classes.get(choices["network"]["name"])
    check_arguments("data", [data_set] if data_set else [], choices["data"])
    check_arguments("network", [backbone, SiameseNetwork] if backbone else [], choices["network"])


def check_part_name(name: Any, place: str) -> None:
    """Raise WrongValueError unless a value can be the name of a part, and so a part of a file's name."""
    if any(separator in check_name(name, place) for separator in SEPARATORS) or name.startswith("."):
        raise wrong(place, name, "a name without a path")


def check_arguments(group: str, classes: Sequence[type], options: Mapping[str, Any]) -> None:
    """Raise WrongValueError for an option of another type than the constructor of its class declares."""
    kinds: dict[str, Any] = {}
    for cls in classes:
        for ancestor in reversed(inspect.getmro(cls)):
            if "__init__" in vars(ancestor) and ancestor is not object:
                kinds |= get_type_hints(vars(ancestor)["__init__"])
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


def without_written_folders(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration without its cache, because a checkpoint does not decide where files are written."""
    data_options = {name: None if name == "cache" else value for name, value in choices["data"].items()}
    return {**choices, "data": data_options, "paths": {**choices["paths"], "cache": None}}


def stored_cache(choices: Mapping[str, Any]) -> str | None:
    """Return the folder of decoded images that the training used; None if it used the user's default."""
    folder = choices["paths"].get("cache") or choices["data"].get("cache")
    return None if folder is None else str(folder)
