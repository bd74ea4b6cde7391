"""The tables of the seconds and triplets that a strategy needs to reach levels of validation Recall@1."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import pandas as pd

from siamese_lab.runs.display_names import sort_strategies
from siamese_lab.study.tables import cells
from siamese_lab.study.tables.table import ReportTable
from siamese_lab.study.time_to_recall import TimeToRecall, informative_levels

NOTE = (
    "Measured at the first validation that reaches the level, without the time of validation: the median over seeds, "
    "with minimum and maximum in brackets. “2 of 3” means that one of three runs never reached the level; its time is "
    "not counted. The CSV also has the levels that no run reached or that every run reached at its first validation."
)

TITLES = {"seconds": "Seconds of training", "triplets": "Thousands of triplets"}
SUMMARY: dict[str, Callable[[Sequence[float]], Any]] = {"median": median, "least": min, "most": max}


def times(reached: Sequence[TimeToRecall]) -> list[ReportTable]:
    """Build a table of seconds and a table of triplets; none if no level is informative."""
    informative = informative_levels(reached)
    if not informative:
        return []
    return [
        ReportTable(
            f"{what}_to_reach",
            f"{title} to reach a validation Recall@1",
            _numbers(reached, what),
            _shown(informative, what),
            NOTE,
        )
        for what, title in TITLES.items()
    ]


def _values(reached: TimeToRecall, what: str) -> Sequence[float]:
    return reached.seconds if what == "seconds" else reached.triplets


def _numbers(reached: Sequence[TimeToRecall], what: str) -> pd.DataFrame:
    rows = []
    for each in reached:
        counts = {"level": each.level, "runs": each.runs, "reached": each.reached}
        values = _values(each, what)
        of_values = {name: how(values) if values else None for name, how in SUMMARY.items()}
        rows.append({"data": each.data, "strategy": each.strategy} | counts | of_values)
    return pd.DataFrame(rows)


def _shown(informative: Sequence[TimeToRecall], what: str) -> pd.DataFrame:
    rows: dict[tuple[str, float], dict[str, str]] = {}
    strategies = sort_strategies(each.strategy for each in informative)
    for each in informative:
        row = {"data": each.data, "Recall@1": f"{100 * each.level:g}%"} | dict.fromkeys(strategies, cells.MISSING)
        rows.setdefault((each.data, each.level), row)[each.strategy] = _time(each, what)
    return pd.DataFrame(rows.values())


def _time(reached: TimeToRecall, what: str) -> str:
    if not reached.reached:
        return "not reached"
    unit = 1 if what == "seconds" else 1000
    counted = "" if reached.reached == reached.runs else f", {reached.reached} of {reached.runs}"
    return cells.spread([value / unit for value in _values(reached, what)], ",.0f") + counted
