"""The tables of a report, a file for each kind."""

from collections.abc import Iterator
from typing import NamedTuple

from siamese_lab.study.findings import HEADLINE, Findings
from siamese_lab.study.tables.average_ranks import average_ranks
from siamese_lab.study.tables.differences import differences
from siamese_lab.study.tables.means import means
from siamese_lab.study.tables.table import Table
from siamese_lab.study.tables.times import times


class Tables(NamedTuple):
    """All of a report, as the page groups them."""

    headline: list[Table]
    """Of Recall@1: the means, and the differences from random sampling where there are some."""
    ranks: list[Table]
    times: list[Table]
    others: list[Table]
    """Of the other metrics, like the headline."""

    def every(self) -> list[Table]:
        """In the order of the page."""
        return [table for group in self for table in group]


def tabulate(findings: Findings) -> Tables:
    """The tables that the findings have something for."""
    others = [table for metric in findings.values if metric != HEADLINE for table in _of_metric(findings, metric)]
    return Tables(
        list(_of_metric(findings, HEADLINE)) if HEADLINE in findings.values else [],
        [average_ranks(findings.ranks)] if findings.ranks else [],
        times(findings.reached),
        others,
    )


def _of_metric(findings: Findings, metric: str) -> Iterator[Table]:
    yield means(findings.values[metric], metric)
    if findings.compared[metric]:
        yield differences(findings.compared[metric], metric)
