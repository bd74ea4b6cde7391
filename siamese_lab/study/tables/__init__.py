"""The tables of a report, a file for each kind."""

from typing import NamedTuple

from siamese_lab.study.analysis import HEADLINE, Analysis
from siamese_lab.study.tables.average_ranks import average_ranks
from siamese_lab.study.tables.differences import differences
from siamese_lab.study.tables.means import means
from siamese_lab.study.tables.table import ReportTable
from siamese_lab.study.tables.times import times


class Tables(NamedTuple):
    """All of a report, as the page groups them."""

    headline: list[ReportTable]
    """Of Recall@1: the means, and the differences from random sampling where there are some."""
    ranks: list[ReportTable]
    times: list[ReportTable]
    others: list[ReportTable]
    """The means of the other metrics."""
    other_differences: list[ReportTable]
    """Their differences from random sampling."""

    def every(self) -> list[ReportTable]:
        """To be written."""
        return [table for group in self for table in group]


def tabulate(analysis: Analysis) -> Tables:
    """The tables that the analysis have something for."""
    of_means = {metric: means(values, metric) for metric, values in analysis.values.items()}
    of_differences = {metric: differences(each, metric) for metric, each in analysis.comparisons.items() if each}
    return Tables(
        [each[HEADLINE] for each in (of_means, of_differences) if HEADLINE in each],
        [average_ranks(analysis.ranks)] if analysis.ranks else [],
        times(analysis.times_to_recall),
        [table for metric, table in of_means.items() if metric != HEADLINE],
        [table for metric, table in of_differences.items() if metric != HEADLINE],
    )
