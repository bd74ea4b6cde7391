"""What a tuning varies: the options that the group `tuning` names of those parts which a run has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from siamese_lab.errors import UserError
from siamese_lab.registry import check_options


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds, both among them.

    Raises:
        UserError: for bounds that do not bound anything.
    """

    low: float
    high: float
    log: bool = False
    """Evenly over the logarithm."""

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and not self.low > 0):
            above = " above 0" if self.log else ""
            raise UserError(f"A range needs a low{above} that is below its high, but it is {self}.")

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}"


@dataclass(frozen=True)
class Values:
    """One of these: numbers, words, true, false or null."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise UserError("A list of values to try needs at least one.")

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


Space = dict[str, Range | Values]
"""By dotted names, such as `optimizer.lr`."""


def space_of(config: DictConfig) -> Space:
    """The options to vary for a configuration.

    Raises:
        UserError: for an option that there is not, for what is neither a range nor a list, where the value that the
            configuration itself has is not among those to try, or for nothing at all.
    """
    tuning = OmegaConf.to_container(config.tuning.space)
    assert isinstance(tuning, dict)
    part_of = parts(config)
    check_options("tuning.space", list(part_of), map(str, tuning))
    space: Space = {}
    for group, part in part_of.items():
        for option, what in ((tuning.get(group) or {}).get(part) or {}).items():
            check_options(f"{group}={part}", list(config[group]), [option])
            place = f"tuning.space.{group}.{part}.{option}"
            space[f"{group}.{option}"] = to_try(place, what)
            check_shipped(place, config[group][option], space[f"{group}.{option}"])
    if not space:
        named = ", ".join(f"{group}={part}" for group, part in part_of.items())
        raise UserError(f"tuning.space names no option of {named}, so there is nothing to tune.")
    return space


def parts(config: DictConfig) -> dict[str, str]:
    """What the groups that can be tuned are chosen to be."""
    optimizer = config.optimizer["_target_"].rsplit(".", 1)[-1].lower()
    return {"optimizer": optimizer, **{group: config[group].name for group in ("loss", "network", "sampler")}}


def to_try(name: str, what: Any) -> Range | Values:
    """A range of {low: …, high: …}, values of a list."""
    if isinstance(what, list):
        return Values(tuple(what))
    if isinstance(what, Mapping) and {"low", "high"} <= what.keys() <= {"low", "high", "log"}:
        return Range(float(what["low"]), float(what["high"]), bool(what.get("log", False)))
    raise UserError(f"{name} must be a list of values, or {{low: …, high: …, log: true}}, but is {what!r}.")


def check_shipped(place: str, shipped: Any, tried: Range | Values) -> None:
    """Raise UserError where what a run has without tuning would not be tried."""
    if shipped not in tried:
        raise UserError(
            f"The first trial is the configuration as it is, so {place} must hold {shipped}, but it is {tried}."
        )


def shipped_options(config: DictConfig, space: Space) -> dict[str, Any]:
    """The values that the options have where nothing is tuned."""
    return {name: OmegaConf.select(config, name) for name in space}
