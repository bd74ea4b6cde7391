"""The tables of a report, one module for each kind of table; the statistics are computed elsewhere in `study`."""

from typing import NamedTuple

from siamese_lab.study.analysis import HEADLINE, PAIRED, Analysis
from siamese_lab.study.pairs import BOUND
from siamese_lab.study.tables.all_pairs import all_pairs
from siamese_lab.study.tables.average_ranks import average_ranks
from siamese_lab.study.tables.controls import controls
from siamese_lab.study.tables.differences import differences
from siamese_lab.study.tables.factors import factors
from siamese_lab.study.tables.hardware import hardware
from siamese_lab.study.tables.hypotheses import hypotheses
from siamese_lab.study.tables.means import means
from siamese_lab.study.tables.selection import selection
from siamese_lab.study.tables.status import status
from siamese_lab.study.tables.table import ReportTable
from siamese_lab.study.tables.times import times


class Tables(NamedTuple):
    """All tables of a report, in the groups of the page."""

    headline: list[ReportTable]
    """Means of Recall@1, and the differences from random sampling if the study has random sampling."""
    status: list[ReportTable]
    """Status of every cell."""
    pairs: list[ReportTable]
    """Differences of all pairs of strategies, if a data set has at least two seeds."""
    hypotheses: list[ReportTable]
    """Verdicts on the hypotheses, if the study has runs that decide one."""
    factors: list[ReportTable]
    """Means at the levels of each factor, if the study has factors."""
    controls: list[ReportTable]
    """Means of control arms, if the study has some."""
    ranks: list[ReportTable]
    selection: list[ReportTable]
    """Selected triplets and trained embeddings, if the runs recorded them."""
    times: list[ReportTable]
    hardware: list[ReportTable]
    """Machines and core-hours."""
    others: list[ReportTable]
    """Means of the other metrics."""
    other_differences: list[ReportTable]
    """Differences of the other metrics from random sampling."""

    def every(self) -> list[ReportTable]:
        """Return all tables in one list."""
        return [table for group in self for table in group]


def tabulate(analysis: Analysis) -> Tables:
    """Build all tables that the analysis has values for."""
    of_means = {
        metric: means(values, metric, analysis.references[metric]) for metric, values in analysis.values.items()
    }
    of_controls = controls(analysis.study, [metric for metric in PAIRED if metric in analysis.values])
    selected = selection(analysis.study)
    of_differences = {metric: differences(each, metric) for metric, each in analysis.comparisons.items() if each}
    return Tables(
        [each[HEADLINE] for each in (of_means, of_differences) if HEADLINE in each],
        [status(analysis.statuses)] if analysis.statuses else [],
        [all_pairs(pairs, metric, BOUND, analysis.statuses) for metric, pairs in analysis.pairs.items()],
        hypotheses(analysis.verdicts, analysis.statuses) if analysis.verdicts else [],
        [factors(analysis.factors, HEADLINE)] if len(analysis.factors) else [],
        [of_controls] if of_controls is not None else [],
        [average_ranks(analysis.ranks)] if analysis.ranks else [],
        [selected] if selected is not None else [],
        times(analysis.times_to_recall),
        [hardware(analysis.study.every)],
        [table for metric, table in of_means.items() if metric != HEADLINE],
        [table for metric, table in of_differences.items() if metric != HEADLINE],
    )
