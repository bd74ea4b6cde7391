"""Evaluate the hypotheses of the study from a table of runs, each by its rules in `hypotheses.yaml`."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pandas as pd

from siamese_lab.runs.display_names import unique
from siamese_lab.study.plan import hypotheses
from siamese_lab.study.rules import KINDS, Cells, MissingRunsError, Number, Rule, strategies_of
from siamese_lab.study.run_table import FLOOR

Outcome = Literal["supported", "refuted", "not settled"]
SUPPORTED: Outcome = "supported"
REFUTED: Outcome = "refuted"
NOT_SETTLED: Outcome = "not settled"


class Finding(NamedTuple):
    """The outcome of a rule on one data set."""

    column: str
    """Title and protocol of the data set."""
    data: str
    says: str
    """The description of the number."""
    unit: str
    """Unit of the number: "points" (of a share) or a noun."""
    threshold: float
    outcome: Outcome
    number: Number | None
    """The number that decides; None if runs are missing."""
    reason: str
    """Reason why nothing is settled, or an empty text."""
    strategies: tuple[str, ...] = ()
    """Strategies that the rule compares."""
    runs: tuple[str, ...] = ()
    """Folders of the runs that gave the number."""


class Verdict(NamedTuple):
    """The verdict on a hypothesis."""

    name: str
    claim: str
    source: str
    outcome: Outcome
    reason: str
    """Reason why nothing is settled, or an empty text."""
    findings: list[Finding]
    """A finding for each rule and data set."""


def evaluate(runs: pd.DataFrame, content: Mapping[str, Any] | None = None) -> list[Verdict]:
    """Return a verdict for each hypothesis.

    Args:
        runs: a row for each run, as returned by `run_table`.
        content: the hypotheses in the form of `hypotheses.yaml`; None reads that file.
    """
    content = hypotheses() if content is None else content
    return [_evaluate(name, hypothesis, runs, content) for name, hypothesis in content["hypotheses"].items()]


def _evaluate(name: str, hypothesis: Mapping[str, Any], runs: pd.DataFrame, content: Mapping[str, Any]) -> Verdict:
    columns: dict[str, list[Finding]] = {}
    for column in unique(runs["column"]) if len(runs) else []:
        of_column = runs[runs["column"] == column]
        cells = Cells(of_column, content["held"], content["standard"], content["seeds"], content["levels"])
        columns[column] = [find(cells, rule) for rule in hypothesis["rules"]]
    findings = [finding for found in columns.values() for finding in found]
    outcome, reason = _combine(columns, content["agree"], hypothesis.get("every_column", False), hypothesis["rules"])
    return Verdict(name, hypothesis["claim"], hypothesis["source"], outcome, reason, findings)


def find(cells: Cells, rule: Rule) -> Finding:
    """Apply a rule to the runs of one data set."""
    column, data = cells.runs["column"].iloc[0], cells.runs["data"].iloc[0]
    finding = Finding(
        column, data, rule["says"], rule["unit"], rule["threshold"], NOT_SETTLED, None, "", tuple(strategies_of(rule))
    )
    before = len(cells.taken)
    try:
        numbers = KINDS[rule["kind"]](cells, rule)
    except MissingRunsError as error:
        return finding._replace(reason=f"missing {error}")
    sign = 1 if rule["supported"] == "above" else -1
    ends = [sorted((sign * (each.low - rule["threshold"]), sign * (each.high - rule["threshold"]))) for each in numbers]
    # The comparison that supports the claim least decides.
    least = min(range(len(numbers)), key=lambda number: ends[number][0])
    most_against = min(range(len(numbers)), key=lambda number: ends[number][1])
    taken = unique(folder for _, folder in cells.taken[before:])
    finding = finding._replace(number=numbers[least], runs=tuple(sorted(taken)))
    below = _below_floor(cells, rule)
    if below:
        return finding._replace(reason=below)
    if ends[least][0] > 0:
        return finding._replace(outcome=SUPPORTED)
    if ends[most_against][1] < 0:
        return finding._replace(outcome=REFUTED, number=numbers[most_against])
    return finding._replace(reason="the interval contains the threshold")


def _below_floor(cells: Cells, rule: Rule) -> str:
    """Return a sentence if no strategy exceeds the floor of a metric, otherwise an empty text."""
    for metric in rule.get("metrics", [rule.get("metric")]):
        floor = f"{FLOOR}{metric}"
        if floor in cells.runs and cells.runs[floor].notna().any():
            runs = cells.select(None, {})
            best = runs.groupby("strategy")[metric].mean().max()
            if best <= runs[floor].mean():
                return f"no strategy exceeds the floor of {metric}"
    return ""


def _of_column(found: Sequence[Finding], rules: Sequence[Rule]) -> tuple[Outcome, str]:
    """Combine the findings of all rules on one data set."""
    for finding, rule in zip(found, rules, strict=True):
        if rule.get("premise") and finding.outcome != SUPPORTED:
            return NOT_SETTLED, finding.reason or f"the premise does not hold: {finding.says}"
    if any(finding.outcome == REFUTED for finding in found):
        return REFUTED, ""
    unsettled = [finding for finding in found if finding.outcome == NOT_SETTLED]
    return (NOT_SETTLED, "; ".join(unique(each.reason for each in unsettled))) if unsettled else (SUPPORTED, "")


def _combine(
    columns: Mapping[str, list[Finding]], agree: Sequence[str], every_column: bool, rules: Sequence[Rule]
) -> tuple[Outcome, str]:
    """Combine all data sets: those of `agree` must agree, and with `every_column` all others must support the claim."""
    combined = {column: (found[0].data, *_of_column(found, rules)) for column, found in columns.items()}
    deciding = {column: each for column, each in combined.items() if each[0] in agree}
    absent = [data for data in agree if not any(each[0] == data for each in deciding.values())]
    reasons = [f"{column}: {reason}" for column, (_, outcome, reason) in deciding.items() if outcome == NOT_SETTLED]
    reasons += [f"missing all runs of {data}" for data in absent]
    if reasons:
        return NOT_SETTLED, "; ".join(reasons)
    outcomes = {outcome for _, outcome, _ in deciding.values()}
    if len(outcomes) > 1:
        listed = ", ".join(f"{column}: {outcome}" for column, (_, outcome, _) in deciding.items())
        return NOT_SETTLED, f"the data sets disagree ({listed})"
    (outcome,) = outcomes
    against = [column for column, each in combined.items() if each[1] != SUPPORTED]
    if outcome == SUPPORTED and every_column and against:
        return NOT_SETTLED, f"not supported on {', '.join(against)}"
    return outcome, ""
