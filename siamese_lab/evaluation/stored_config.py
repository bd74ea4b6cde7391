"""Check the configuration that a checkpoint stores before a part is built from it.

The file may come from anyone. Its options need known names, the types of the constructor that they are passed to, and
sizes within `siamese_lab.runs.option_bounds`. Its folders are only read; none of them is written to.
"""

from collections.abc import Mapping
from typing import Any

from siamese_lab.data import TRAINED_CLASSES
from siamese_lab.data import registry as data_registry
from siamese_lab.networks.siamese import SiameseNetwork
from siamese_lab.networks.siamese import registry as network_registry
from siamese_lab.registry import options_of
from siamese_lab.runs.constructor_types import check_arguments
from siamese_lab.runs.option_bounds import check_bound
from siamese_lab.runs.options import flatten
from siamese_lab.runs.plain_values import check_name, check_plain, of_type, wrong

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


def with_found_options(choices: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration with the options that its data set found out and put into the checkpoint.

    Args:
        choices: the stored configuration.
        content: the loaded checkpoint.

    Raises:
        WrongValueError: if an option has another type than the data set takes.
    """
    cls = data_registry.classes.get(choices["data"]["name"])
    state = None if cls is None else content.get(cls.__qualname__)
    found = state.get(TRAINED_CLASSES) if isinstance(state, Mapping) else None
    if cls is None or not isinstance(found, Mapping):
        return dict(choices)
    added = {name: value for name, value in found.items() if name not in choices["data"] and name in options_of(cls)}
    check_plain(added, "data")
    check_arguments("data", [cls], added)
    return {**choices, "data": {**choices["data"], **added}}


def without_written_folders(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration without its cache, because a checkpoint does not decide where files are written."""
    data_options = {name: None if name == "cache" else value for name, value in choices["data"].items()}
    return {**choices, "data": data_options, "paths": {**choices["paths"], "cache": None}}


def stored_cache(choices: Mapping[str, Any]) -> str | None:
    """Return the folder of decoded images that the training used; None if it used the user's default."""
    folder = choices["paths"].get("cache") or choices["data"].get("cache")
    return None if folder is None else str(folder)
