"""Bound the studies that are reported: records of others may hold any number of names, notes and validations."""

from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from siamese_lab.errors import UserError
from siamese_lab.runs.options import compared_options

if TYPE_CHECKING:
    from siamese_lab.study.runs import Study

MAX_NOTES = 100
"""Largest number of notes that the console and the page show."""
MAX_PAIRS = 1_000
"""Largest number of pairs of strategies on all data sets together that a report compares."""


class Bound(NamedTuple):
    """The largest number of something in a study."""

    most: int
    plural: str


STRATEGIES, DATA = Bound(50, "strategies"), Bound(50, "data sets")
JOBS = Bound(20_000, "jobs (data sets × strategies × seeds)")
RUNS = Bound(6_000, "runs")
"""Reading 6,000 runs of the planned study takes about 20 seconds and 0.8 GB, with any number of seeds."""
CELLS = Bound(120, "cells (data sets × strategies)")
"""Every figure draws each cell: so many take about 40 seconds, and 2,500 take many minutes and 3 GB."""
METRICS = Bound(100, "test metrics")
"""Each metric has its own tables."""
OPTIONS = Bound(1_000, "options")
PACKAGES = Bound(100, "packages with a version")
VALUES = Bound(15_000_000, "values in the records of its runs")
POINTS = Bound(100_000, "validations or more")
FOLDED = Bound(500, "configurations with folds")


def check_study(study: "Study") -> None:
    """Raise UserError if a study has too many strategies, data sets, jobs, metrics, options or packages."""
    num_data, num_strategies = len(study.data), len(study.strategies)
    check(num_strategies, STRATEGIES, study.name)
    check(num_data, DATA, study.name)
    check(num_data * num_strategies, CELLS, study.name)
    check(num_data * num_strategies * len(study.seeds), JOBS, study.name)
    records = [run.results for run in study.every]
    check(_distinct(record.test for record in records), METRICS, study.name)
    check(_distinct(compared_options(record.choices) for record in records), OPTIONS, study.name)
    check(_distinct(record.versions for record in records), PACKAGES, study.name)


def _distinct(names: Iterable[Iterable[str]]) -> int:
    return len({name for each in names for name in each})


def number_of_values(part: Any) -> int:
    """Return the number of values in a record, which its memory grows with; each value has about 100 bytes.

    >>> number_of_values({"seed": 0, "test": {"recall@1": 0.5}})
    4
    """
    if is_dataclass(part):
        return number_of_values(vars(part))
    if isinstance(part, Mapping):
        return 1 + sum(map(number_of_values, part.values()))
    return 1 + sum(map(number_of_values, part)) if isinstance(part, (list, tuple)) else 1


def check(number: int, bound: Bound, where: str) -> None:
    """Raise UserError if a number exceeds its bound."""
    if number > bound.most:
        raise UserError(
            f"{where} has {number:,} {bound.plural}, but a report shows at most {bound.most:,}. Report one of its "
            "subfolders, or move the runs of interest into a folder of their own."
        )


def shorten_notes(notes: list[str]) -> list[str]:
    """Return the notes that are shown. The last one counts the notes that are left out."""
    if len(notes) <= MAX_NOTES:
        return notes
    left_out = len(notes) - MAX_NOTES
    return [*notes[:MAX_NOTES], f"{left_out:,} further notes are left out: a report shows at most {MAX_NOTES}."]
