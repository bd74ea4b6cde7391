"""The average rank of every strategy by every metric."""

from collections.abc import Mapping

import pandas as pd

from siamese_lab.runs.display_names import metric_name, sort_strategies
from siamese_lab.study.ranks import Ranks
from siamese_lab.study.tables import cells
from siamese_lab.study.tables.table import ReportTable


def average_ranks(ranks: Mapping[str, Ranks]) -> ReportTable:
    """The table, of at least one metric."""
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
    told = [
        "1 is the best; a rank is that of the mean over seeds. Ranks that differ by more than Nemenyi's critical "
        "difference (5%) are told apart; Friedman's p by permutation (Demšar 2006). Data sets are the blocks, as seeds "
        "repeat one data set; two protocols of the same images are not wholly independent."
    ]
    left_out = {name for each in ranks.values() for name in each.left_out}
    if left_out:
        told.append(f"Left out, as a strategy is missing: {', '.join(sorted(left_out))}.")
    return " ".join(told)
