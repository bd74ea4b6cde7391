"""Tell the standard runs of a study from those of factors, control arms and the classifier reference.

A held option (`hypotheses.yaml`) is a factor of a data set if a strategy has runs with several of its values for one
seed. Runs with another than the standard value of a factor are factor runs, or control arms if the plan lists the
option as one. An option that differs only between strategies is no factor, but a fault that the report names.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from siamese_lab.runs.display_names import STRATEGIES
from siamese_lab.runs.options import compared_options
from siamese_lab.study.plan import hypotheses
from siamese_lab.study.rules import hashable, most_frequent

if TYPE_CHECKING:
    from siamese_lab.study.runs import Run

Role = Literal["standard", "factor", "control", "reference"]
REFERENCE = "none"
"""Name of the sampler that selects nothing: its runs train the network as a classifier."""
PARTS = ("loss", "network")
"""Groups of options in which each name has its own options."""


class Place(NamedTuple):
    """The role of a run in the study."""

    role: Role
    options: dict[str, Any]
    """Values of the factors that differ from the standard value."""


STANDARD = Place("standard", {})


def places(runs: Sequence["Run"]) -> list[Place]:
    """Return the role of each run, by all runs of the study together."""
    strategies = {run.strategy for run in runs}
    arms = strategies - {REFERENCE}
    controls = set(hypotheses()["controls"]["strategies"]) if arms >= set(STRATEGIES) else set()
    held = [held_options(run.results.choices) for run in runs]
    found = [STANDARD] * len(runs)
    for data in {run.data for run in runs}:
        of_data = [number for number, run in enumerate(runs) if run.data == data]
        compared = [number for number in of_data if runs[number].strategy not in {REFERENCE, *controls}] or of_data
        factors = _factors((runs[number].strategy, runs[number].seed, held[number]) for number in compared)
        standard = {option: standard_value(option, [held[number] for number in compared]) for option in factors}
        for number in of_data:
            if runs[number].strategy == REFERENCE and arms:
                found[number] = Place("reference", {})
                continue
            options = deviating(held[number], standard)
            control = runs[number].strategy in controls
            if control or options:
                listed = options.keys() <= set(hypotheses()["controls"]["options"])
                found[number] = Place("control" if control or listed else "factor", options)
    return found


def held_options(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the held options of a run; None is not set.

    A run that did not record an option has the standard value of the plan.
    """
    plan = hypotheses()
    recorded = compared_options(choices)
    return {option: hashable(recorded.get(option, plan["standard"].get(option))) for option in plan["held"]}


def standard_value(option: str, held: Sequence[Mapping[str, Any]]) -> Any:
    """Return the standard value of the plan if any run has it, otherwise the most frequent value; None is not set."""
    stated = hypotheses()["standard"]
    values = [each[option] for each in held]
    if option in stated and stated[option] in values:
        return stated[option]
    return (
        None if 2 * values.count(None) > len(values) else most_frequent([each for each in values if each is not None])
    )


def deviating(held: Mapping[str, Any], standard: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that differ from their standard values; those of another loss or network are its own."""
    differ = {option: held[option] for option, value in standard.items() if held[option] != value}
    for part in PARTS:
        if f"{part}.name" in differ:
            others = {option for option in differ if option.startswith(f"{part}.")} - {f"{part}.name"}
            differ = {option: value for option, value in differ.items() if option not in others}
    return differ


def _factors(runs: Iterable[tuple[str, int, Mapping[str, Any]]]) -> list[str]:
    """Return the options with several values among runs of the same strategy and seed, and of the same loss."""
    values: dict[str, dict[tuple[Any, ...], set[Any]]] = {}
    for strategy, seed, held in runs:
        for option, value in held.items():
            part = option.partition(".")[0]
            name = held.get(f"{part}.name") if part in PARTS and option != f"{part}.name" else None
            values.setdefault(option, {}).setdefault((strategy, seed, name), set()).add(value)
    return [option for option, of_jobs in values.items() if any(len(each) > 1 for each in of_jobs.values())]
