"""The tables of a report, a file for each kind."""

from typing import NamedTuple

from siamese_lab.study.analysis import HEADLINE, Findings
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
    """The means of the other metrics."""
    other_differences: list[Table]
    """Their differences from random sampling."""

    def every(self) -> list[Table]:
        """To be written."""
        return [table for group in self for table in group]


def tabulate(findings: Findings) -> Tables:
    """The tables that the findings have something for."""
    of_means = {metric: means(values, metric) for metric, values in findings.values.items()}
    of_differences = {metric: differences(each, metric) for metric, each in findings.compared.items() if each}
    return Tables(
        [each[HEADLINE] for each in (of_means, of_differences) if HEADLINE in each],
        [average_ranks(findings.ranks)] if findings.ranks else [],
        times(findings.reached),
        [table for metric, table in of_means.items() if metric != HEADLINE],
        [table for metric, table in of_differences.items() if metric != HEADLINE],
    )
