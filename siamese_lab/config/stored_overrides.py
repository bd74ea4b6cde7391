"""Check the command line that a checkpoint stores before `resume=` composes it, because the file may come from anyone.

Stored options choose parts that ship or that the user's own configs name, and set plain values within bounds. A stored
option never names a class outside of the shipped configs, never names a file or folder, and never sets Hydra.
The user may name such an option again on the command line, where it replaces the stored one.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from siamese_lab.config.schema import TrainConfig, config_folder
from siamese_lab.registry import did_you_mean
from siamese_lab.runs.option_bounds import check_bound
from siamese_lab.runs.options import TARGET
from siamese_lab.runs.plain_values import WrongValueError, shortened
from siamese_lab.runs.stored_paths import PATH_OPTIONS, untrusted_path

WRITTEN = ("paths.outputs", "paths.cache", "data.cache", "logger.mlflow.store", "logger.wandb.cache")
"""Options that decide where files are written. Stored ones are ignored."""
WITH_SLASH = ("monitor", "metric")
"""Last parts of options with names of metrics as values, such as `validation/recall@1`."""
MAX_OVERRIDES, MAX_LENGTH = 1000, 10_000
"""Largest number of stored overrides, and of characters of one override. Hydra parses them slowly."""


class CheckedOverrides(NamedTuple):
    """The overrides that are used, and the options that are ignored."""

    used: list[str]
    ignored: list[str]


def checked_overrides(stored: Sequence[str]) -> CheckedOverrides:
    """Divide stored overrides into used ones and ignored ones.

    Raises:
        WrongValueError: for an override that could run code, reads or writes other files, or breaks a bound.
    """
    if len(stored) > MAX_OVERRIDES:
        raise WrongValueError(f"it stores {len(stored):,} options, expected at most {MAX_OVERRIDES:,}")
    used, ignored = [], []
    for text in stored:
        override = parsed(text)
        option = str(override.key_or_group)
        if re.split(r"[./@]", option)[0] == "hydra" or option in WRITTEN:
            ignored.append(option)
        else:
            check_option(option, override)
            used.append(text)
    return CheckedOverrides(used, ignored)


def parsed(text: str) -> Override:
    """Parse an override by Hydra's grammar.

    Raises:
        WrongValueError: if it is too long or breaks the grammar.
    """
    if len(text) > MAX_LENGTH:
        raise WrongValueError(f"a stored option has {len(text):,} characters, expected at most {MAX_LENGTH:,}")
    try:
        return OverridesParser.create().parse_override(text)
    except (HydraException, RecursionError) as error:
        raise WrongValueError(f"the stored option {shortened(text)} cannot be parsed") from error


def check_option(option: str, override: Override) -> None:
    """Raise WrongValueError unless a stored override sets a known option to a harmless value."""
    first = re.split(r"[./@]", option)[0]
    known = {*(field.name for field in fields(TrainConfig)), *groups()}
    if first not in known:
        raise WrongValueError(f"the stored option {shortened(option)} is unknown.{did_you_mean(first, known)}")
    if override.package is not None or "/" in option:
        raise WrongValueError(f"the stored option {shortened(option)} sets a package, which no run needs")
    if override.is_sweep_override():
        raise WrongValueError(f"the stored option {shortened(option)} lists several values")
    check_key(option, override.value())
    check_value(option, override.value(), option in groups())


def check_key(option: str, value: Any) -> None:
    """Raise WrongValueError for an option with a special meaning in Hydra, except for a class that ships."""
    for part in option.split("."):
        if part.startswith("_") and not (part == TARGET and option.endswith(TARGET) and value in shipped_targets()):
            names = f"the class {shortened(str(value))}" if part == TARGET else shortened(str(value))
            raise WrongValueError(
                f"it stores {shortened(option)}, which names {names}. Code is only run if you name it: if you trust "
                f"it, repeat {option}=… on the command line"
            )


def check_value(option: str, value: Any, is_group: bool = False) -> None:
    """Raise WrongValueError for a value that names a path, refers to another value, or breaks a bound."""
    if isinstance(value, dict):
        for key, each in value.items():
            if f"{option}.{key}" in WRITTEN:
                raise WrongValueError(f"it stores {option}.{key}, which decides where files are written")
            check_key(f"{option}.{key}", each)
            check_value(f"{option}.{key}", each)
    elif isinstance(value, list):
        for each in value:
            check_value(option, each, is_group)
    elif isinstance(value, (int, float)) and option not in PATH_OPTIONS:
        check_bound(option, value)
    elif value is not None:
        check_text(option, str(getattr(value, "text", value)), is_group)


def check_text(option: str, text: str, is_group: bool) -> None:
    """Raise WrongValueError for a text that names a path where none belongs, or that refers to another value."""
    if "${" in text:
        raise WrongValueError(
            f"it stores {option}={shortened(text)}, which refers to another value. Repeat {option}=… to use it"
        )
    is_name = option.rpartition(".")[2] in WITH_SLASH and not is_group
    if option in PATH_OPTIONS or (not is_name and is_path(text)):
        raise WrongValueError(f"it stores the path {option}={shortened(text)}. {untrusted_path(option, text)}")


def is_path(text: str) -> bool:
    """Return whether a text leads to another folder."""
    return "/" in text or "\\" in text or text.startswith("~") or text == ".."


@cache
def groups() -> Collection[str]:
    """Return the names of all option groups that ship."""
    return frozenset(path.name for path in config_folder().iterdir() if path.is_dir())


@cache
def shipped_targets() -> Collection[str]:
    """Return the classes that the shipped configs name."""
    texts = (path.read_text(encoding="utf-8") for path in config_folder().rglob("*.yaml"))
    return frozenset(found for text in texts for found in re.findall(rf"{TARGET}: ([\w.]+)", text))
