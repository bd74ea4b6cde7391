"""The search space of a tuning: the options in group `tuning` for the parts that a run uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from siamese_lab.errors import UserError
from siamese_lab.registry import check_options
from siamese_lab.runs.options import recorded


@dataclass(frozen=True)
class Range:
    """A range of numbers between two bounds, including the bounds.

    Raises:
        UserError: if the lower bound is not below the upper bound, or not positive for a logarithmic range.
    """

    low: float
    high: float
    log: bool = False
    """True if values are uniform over the logarithm."""

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and not self.low > 0):
            above = " above 0" if self.log else ""
            raise UserError(f"A range needs a low{above} that is below its high, but got {self}.")

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}"


@dataclass(frozen=True)
class Values:
    """A list of values: numbers, text, true, false or null."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise UserError("A list of values to try needs at least one value, but is empty.")

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


Space = dict[str, Range | Values]
"""Range or values of each option by dotted name, such as `optimizer.lr`."""


def space_of(config: DictConfig) -> Space:
    """Return the search space of a configuration.

    Raises:
        UserError: for an unknown option, for a value that is neither a range nor a list, if the value in the
            configuration is outside of the search space, or if the search space is empty.
    """
    tuning = OmegaConf.to_container(config.tuning.space)
    assert isinstance(tuning, dict)
    part_of = parts(config)
    check_options("tuning.space", list(part_of), map(str, tuning))
    space: Space = {}
    for group, part in part_of.items():
        for option, what in ((tuning.get(group) or {}).get(part) or {}).items():
            check_options(f"{group}={part}", list(config[group]), [option])
            option_path = f"tuning.space.{group}.{part}.{option}"
            space[f"{group}.{option}"] = to_try(option_path, what)
            check_shipped(option_path, config[group][option], space[f"{group}.{option}"])
    if not space:
        named = ", ".join(f"{group}={part}" for group, part in part_of.items())
        raise UserError(
            f"tuning.space names no option of {named}, so there is nothing to tune. Add one of its options."
        )
    return space


def parts(config: DictConfig) -> dict[str, str]:
    """Return the chosen part of each group that can be tuned."""
    optimizer = recorded(OmegaConf.to_container(config.optimizer))["name"].lower()
    return {"optimizer": optimizer, **{group: config[group].name for group in ("loss", "network", "sampler")}}


def to_try(name: str, what: Any) -> Range | Values:
    """Return a range for {low: …, high: …}, or values for a list."""
    if isinstance(what, list):
        return Values(tuple(what))
    if isinstance(what, Mapping) and {"low", "high"} <= what.keys() <= {"low", "high", "log"}:
        return Range(float(what["low"]), float(what["high"]), bool(what.get("log", False)))
    raise UserError(f"{name} must be a list of values, or {{low: …, high: …, log: true}}, but is {what!r}.")


def check_shipped(option_path: str, shipped: Any, tried: Range | Values) -> None:
    """Raise UserError if the search space does not contain the value that a run without tuning uses."""
    if shipped not in tried:
        raise UserError(
            f"The first trial uses the shipped options, so {option_path} must contain {shipped}, but it is {tried}."
        )


def shipped_options(config: DictConfig, space: Space) -> dict[str, Any]:
    """Return the values of the options without tuning."""
    return {name: OmegaConf.select(config, name) for name in space}
