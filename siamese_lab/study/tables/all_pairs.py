"""The table of the differences of all pairs of strategies on every data set, in percentage points."""

from collections.abc import Sequence

import pandas as pd

from siamese_lab.runs.display_names import file_name, metric_name
from siamese_lab.study.pairs import Pair
from siamese_lab.study.status import Statuses, in_short
from siamese_lab.study.tables import cells
from siamese_lab.study.tables.table import ReportTable

UNITS = 100
"""Numbers of the metric are shares, the table shows percentage points."""


def all_pairs(pairs: Sequence[Pair], metric: str, bound: float, statuses: Statuses) -> ReportTable:
    """Build the table of one metric."""
    return ReportTable(
        f"{file_name(metric)}_all_pairs",
        f"Test {metric_name(metric)}, all pairs of strategies, first minus second in points",
        pd.DataFrame(_numbers(each) | {"status": _status(each, statuses)} for each in pairs),
        pd.DataFrame(_row(each) | {"status": _status(each, statuses)} for each in pairs),
        _note(bound),
    )


def verdict(pair: Pair) -> str:
    """Return in words what the tests of a pair show."""
    if pair.separated:
        return "differs, but less than the bound" if pair.equivalent else "differs"
    return "equivalent" if pair.equivalent else "not settled"


def _numbers(pair: Pair) -> dict[str, object]:
    numbers: dict[str, object] = pair._asdict()
    improvement = numbers.pop("improvement")
    share, low, high = improvement if isinstance(improvement, tuple) else (None, None, None)
    return numbers | {"improvement": share, "improvement_low": low, "improvement_high": high, "verdict": verdict(pair)}


def _row(pair: Pair) -> dict[str, str]:
    shares = pair.improvement
    return {
        "data": pair.data,
        "first": pair.first,
        "second": pair.second,
        "difference": cells.points(pair.mean),
        "95% interval": cells.interval(pair.low, pair.high),
        "p (Holm)": cells.p_value(pair.corrected_p),
        "p (equivalence)": cells.p_value(pair.corrected_equivalence_p),
        "verdict": verdict(pair),
        "detectable": cells.MISSING if pair.detectable is None else cells.percent(pair.detectable),
        "seeds needed": cells.MISSING if pair.seeds_needed is None else str(pair.seeds_needed),
        "first is better": cells.MISSING
        if shares is None
        else f"{UNITS * shares.share:.0f}% ({UNITS * shares.low:.0f}–{UNITS * shares.high:.0f})",
        "seeds": str(pair.number),
    }


def _status(pair: Pair, statuses: Statuses) -> str:
    return in_short(statuses, pair.data, (pair.first, pair.second))


def _note(bound: float) -> str:
    shown = f"{UNITS * bound:g}"
    return (
        "Differences are paired by seed (least squares over strategies and seeds). Their variance is the mean of that "
        "of the pair and that pooled over the strategies of the data set. Intervals are Student's t, for each "
        "difference alone. p (Holm) is corrected for all tests of this table, and so is p (equivalence), which tests "
        f"whether the difference lies within ± {shown} points (two one-sided tests). Detectable: the true difference "
        "that the corrected test would find with a probability of 80%. Seeds needed: for an interval of at most "
        f"± {shown} points. First is better: the share of seeds, with its exact 95% interval. {cells.MISSING}: not "
        "testable."
    )
