"""Bound the studies that are reported: records of others may hold any number of names, notes and validations."""

from typing import TYPE_CHECKING, NamedTuple

from siamese_lab.errors import UserError

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
RUNS = Bound(20_000, "runs")
POINTS = Bound(100_000, "validations or more")
FOLDED = Bound(500, "configurations with folds")


def check_study(study: "Study") -> None:
    """Raise UserError if a study has too many strategies, data sets or jobs."""
    num_data, num_strategies = len(study.data), len(study.strategies)
    check(num_strategies, STRATEGIES, study.name)
    check(num_data, DATA, study.name)
    check(num_data * num_strategies * len(study.seeds), JOBS, study.name)


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
