"""The table of the average rank of every strategy for every metric."""

from collections.abc import Mapping

import pandas as pd

from siamese_lab.runs.display_names import metric_name, sort_strategies
from siamese_lab.study.ranks import Ranks
from siamese_lab.study.tables import cells
from siamese_lab.study.tables.table import ReportTable


def average_ranks(ranks: Mapping[str, Ranks]) -> ReportTable:
    """Build the table for at least one metric."""
    strategies = sort_strategies(name for each in ranks.values() for name in each.average)
    shown = [
        {"metric": metric_name(metric)}
        | {name: f"{each.average[name]:.2f}" if name in each.average else cells.MISSING for name in strategies}
        | {
            "critical difference": f"{each.critical_difference:.2f}",
            "p (Friedman)": cells.p_value(each.p),
            "data sets": str(len(each.data)),
        }
        for metric, each in ranks.items()
    ]
    numbers = [
        {"metric": metric, "strategy": name, "average_rank": rank, "critical_difference": each.critical_difference}
        | {"friedman_p": each.p, "data_sets": len(each.data)}
        for metric, each in ranks.items()
        for name, rank in each.average.items()
    ]
    return ReportTable(
        "average_ranks", "Average ranks over data sets", pd.DataFrame(numbers), pd.DataFrame(shown), _note(ranks)
    )


def _note(ranks: Mapping[str, Ranks]) -> str:
    sentences = [
        "Rank 1 is the best; strategies are ranked by their mean over seeds. Ranks differ significantly if they differ "
        "by more than Nemenyi's critical difference (5%). Friedman's p is computed by permutation (Demšar 2006). Data "
        "sets are the blocks, because seeds repeat one data set. Two protocols of the same images are not fully "
        "independent."
    ]
    for name, instead in sorted({pair for each in ranks.values() for pair in each.unranked}):
        sentences.append(f"{name} is not ranked alongside {instead}, because both show the same people.")
    left_out = {name for each in ranks.values() for name in each.left_out}
    if left_out:
        sentences.append(f"Excluded because a strategy is missing: {', '.join(sorted(left_out))}.")
    return " ".join(sentences)
