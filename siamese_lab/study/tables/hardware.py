"""The table of the machines of a study: processor, precision, threads, number of runs and core-hours."""

from collections.abc import Iterable

import pandas as pd

from siamese_lab.study.conclusions import UNKNOWN
from siamese_lab.study.runs import Run
from siamese_lab.study.tables import cells
from siamese_lab.study.tables.table import ReportTable

NOTE = (
    "All runs of the study, also of factors and controls. Core-hours are the seconds of the runs × threads, whatever "
    "else the machine did; those of a resumed run count since it was resumed."
)


def hardware(runs: Iterable[Run]) -> ReportTable:
    """Build the table, the machine with the most runs first."""
    groups: dict[tuple[str, ...], list[float]] = {}
    for run in runs:
        found = run.results.hardware
        facts = [str(found.get(name, UNKNOWN)) for name in ("device", "precision", "threads")]
        threads = found.get("threads") or 1
        groups.setdefault(tuple(facts), []).append(run.results.seconds.get("total", 0.0) * threads / 3600)
    rows = sorted(groups.items(), key=lambda each: (-len(each[1]), each[0]))
    total = [hours for _, of_group in rows for hours in of_group]
    names = ("processor", "precision", "threads")
    numbers = [
        dict(zip(names, facts, strict=True)) | {"runs": len(each), "core_hours": sum(each)} for facts, each in rows
    ]
    shown = [
        dict(zip(names, facts, strict=True)) | {"runs": f"{len(each):,}", "core-hours": f"{sum(each):.1f}"}
        for facts, each in [*rows, (("all", cells.MISSING, cells.MISSING), total)]
    ]
    return ReportTable("hardware", "Machines and core-hours", pd.DataFrame(numbers), pd.DataFrame(shown), NOTE)
