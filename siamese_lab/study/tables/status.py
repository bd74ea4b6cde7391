"""The table of the status of every cell: converged, cut off, below raw pixels or collapsed."""

import pandas as pd

from siamese_lab.study.status import MOST_MOVED, CellStatus, Statuses
from siamese_lab.study.tables import cells
from siamese_lab.study.tables.table import ReportTable

NOTE = (
    "A cell has collapsed if at least half of its runs have; it is below its floor if its mean test Recall@1 is not "
    "above that of raw pixels (on frozen features: of the raw features); it is cut off if twice the steps move it by "
    f"more than {100 * MOST_MOVED:g} points, or turn the sign of a difference that exceeds them. Without runs of "
    f"twice the steps, convergence is not checked. {cells.MISSING}: not recorded."
)


def status(statuses: Statuses) -> ReportTable:
    """Build the table."""
    return ReportTable(
        "status",
        "Status of every cell",
        pd.DataFrame(
            {"data": data, "strategy": strategy} | _numbers(each) for (data, strategy), each in statuses.items()
        ),
        pd.DataFrame(_row(data, strategy, each) for (data, strategy), each in statuses.items()),
        NOTE,
    )


def _numbers(found: CellStatus) -> dict[str, object]:
    numbers = found._asdict() | {"turned": ", ".join(found.turned)}
    del numbers["at_both"]
    return numbers


def _row(data: str, strategy: str, found: CellStatus) -> dict[str, str]:
    return {
        "data": data,
        "strategy": strategy,
        "status": found.status,
        "change with twice the steps": cells.MISSING if found.moved is None else cells.points(found.moved),
        "sign turned against": ", ".join(found.turned) or cells.MISSING,
        "above raw pixels": cells.MISSING if found.above_floor is None else cells.points(found.above_floor),
        "collapsed runs": cells.MISSING if found.collapsed is None else f"{100 * found.collapsed:.0f}%",
    }
