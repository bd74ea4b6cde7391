"""The tables of the hypotheses: the verdict on each, and the numbers that decide it on every data set."""

from collections.abc import Sequence

import pandas as pd

from siamese_lab.study.hypotheses import Finding, Verdict
from siamese_lab.study.status import Statuses, in_short
from siamese_lab.study.tables import cells
from siamese_lab.study.tables.table import ReportTable

NOTE = (
    "A hypothesis is supported if the 95% interval of its number lies on the side of the threshold that it claims, "
    "refuted if it lies on the other side, and otherwise not settled; it also needs Omniglot and glyphs to agree. The "
    "rules are in siamese_lab/study/hypotheses.yaml."
)
NUMBERS_NOTE = (
    "Intervals are Student's t over seeds, corrected if a rule has several comparisons; those of shares of runs are "
    "score intervals. Detectable: the distance from the threshold that the rule would have seen with a probability of "
    f"80%. The status is that of the standard runs of the strategies. "
    f"Numbers are percentage points, except for counts. {cells.MISSING}: runs are missing."
)


def hypotheses(verdicts: Sequence[Verdict], statuses: Statuses) -> list[ReportTable]:
    """Build the table of verdicts, and the table of numbers if there are any."""
    tables = [
        ReportTable("hypotheses", "Verdicts", _verdicts(verdicts), _verdicts(verdicts).map(_shown), NOTE),
    ]
    numbered = [(verdict, each) for verdict in verdicts for each in verdict.findings if each.number is not None]
    if numbered:
        numbers = pd.DataFrame(_numbers(verdict, each, statuses) for verdict, each in numbered)
        shown = pd.DataFrame(
            _row(verdict.name, each) | {"status of cells": in_short(statuses, each.column, each.strategies)}
            for verdict, each in numbered
        )
        tables.append(ReportTable("hypotheses_numbers", "Numbers of the hypotheses", numbers, shown, NUMBERS_NOTE))
    return tables


def _shown(text: str) -> str:
    return text or cells.MISSING


def _verdicts(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    return pd.DataFrame(
        {"hypothesis": each.name, "claim": each.claim, "verdict": each.outcome, "reason": each.reason}
        for each in verdicts
    )


def _numbers(verdict: Verdict, finding: Finding, statuses: Statuses) -> dict[str, object]:
    assert finding.number is not None
    return {
        "hypothesis": verdict.name,
        "data": finding.column,
        "quantity": finding.says,
        "threshold": finding.threshold,
        **finding.number._asdict(),
        "verdict": finding.outcome,
        "status": in_short(statuses, finding.column, finding.strategies),
    }


def _row(name: str, finding: Finding) -> dict[str, str]:
    number = finding.number
    assert number is not None
    return {
        "hypothesis": name,
        "quantity": f"{finding.says} ({number.label})" if number.label else finding.says,
        "data": finding.column,
        "number": quantity(number.value, finding.unit),
        "95% interval": f"{quantity(number.low, finding.unit)} … {quantity(number.high, finding.unit)}",
        "threshold": quantity(finding.threshold, finding.unit),
        "detectable": quantity(number.detectable, finding.unit).lstrip("+"),
        "seeds": str(number.seeds),
        "verdict": finding.outcome,
    }


def in_words(finding: Finding) -> str:
    """Return the number of a finding with its interval, threshold and detectable distance, for the console."""
    shown = _row("", finding)
    return (
        f"{shown['quantity']}: {shown['number']} [{shown['95% interval']}], threshold {shown['threshold']}, detectable "
        f"{shown['detectable']}, {shown['seeds']} seeds."
    )


def quantity(value: float, unit: str) -> str:
    """Return a number of a rule: shares as percentage points, others with one decimal."""
    return cells.points(value if unit == "points" else value / 100)
