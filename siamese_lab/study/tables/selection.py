"""The table of what the strategies select, and of the embeddings that they train."""

import math
from collections.abc import Callable
from statistics import fmean
from typing import NamedTuple

import pandas as pd

from siamese_lab.runs.results import Results
from siamese_lab.study.run_table import OVERLAP, overlaps
from siamese_lab.study.runs import Study
from siamese_lab.study.tables import cells
from siamese_lab.study.tables.table import ReportTable

NOTE = (
    "Means over seeds. Active triplets have a loss above 0. In violating ones the negative is nearer than the "
    "positive. Fallback negatives were chosen because no image fitted the strategy. Shares and distances (0…2) are "
    "those of the last logged part of training. The effective rank is the number of dimensions that the embeddings of "
    "a training batch use, at the end. Picks of hard: share of the negatives that hard mining also picks from the same "
    "embeddings, over training."
)


class Quantity(NamedTuple):
    """A column of the table."""

    name: str
    of_run: Callable[[Results], float | None]
    shown: Callable[[float], str]


def logged(name: str) -> Callable[[Results], float | None]:
    """Return a function that reads a value from the last logged part of training."""
    return lambda run: run.history[-1].train.get(name) if run.history else None


def _effective_rank(run: Results) -> float | None:
    return run.telemetry[-1].get("effective_rank") if run.telemetry else None


def _picks_of_hard(run: Results) -> float | None:
    return overlaps(run.telemetry).get(f"{OVERLAP}hard")


def _share(value: float) -> str:
    return f"{cells.percent(value)}%"


QUANTITIES = (
    Quantity("active", logged("active_share"), _share),
    Quantity("violating", logged("violating_share"), _share),
    Quantity("fallback", logged("fallback_share"), _share),
    Quantity("median d_ap", logged("d_ap_q50"), "{:.2f}".format),
    Quantity("median d_an", logged("d_an_q50"), "{:.2f}".format),
    Quantity("effective rank", _effective_rank, "{:.1f}".format),
    Quantity("picks of hard", _picks_of_hard, _share),
)


def selection(study: Study) -> ReportTable | None:
    """Build the table, with the quantities that some run recorded; None if no run recorded any."""
    rows: list[dict[str, str | float | None]] = []
    for data in study.data:
        for strategy in study.strategies:
            runs = [run.results for run in study.finished if (run.data, run.strategy) == (data, strategy)]
            means = {each.name: _mean([each.of_run(run) for run in runs]) for each in QUANTITIES}
            if any(value is not None for value in means.values()):
                rows.append({"data": data, "strategy": strategy} | means)
    recorded = [each for each in QUANTITIES if any(row[each.name] is not None for row in rows)]
    if not recorded:
        return None
    names = ["data", "strategy", *(each.name for each in recorded)]
    numbers = pd.DataFrame(rows)[names]
    shown = numbers[["data", "strategy"]].assign(
        **{
            each.name: [cells.MISSING if pd.isna(value) else each.shown(value) for value in numbers[each.name]]
            for each in recorded
        }
    )
    return ReportTable(
        "selection",
        "Selected triplets and trained embeddings",
        numbers.rename(columns=lambda name: name.replace(" ", "_")),
        shown,
        NOTE,
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return fmean(known) if known else None
