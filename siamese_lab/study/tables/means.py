"""The table of the mean of a metric over seeds ± its 95% interval, for every strategy on every data set."""

import pandas as pd

from siamese_lab.runs.display_names import file_name, metric_name, sort_strategies, unique
from siamese_lab.study.comparison import estimates
from siamese_lab.study.tables import cells
from siamese_lab.study.tables.table import ReportTable


def means(values: pd.DataFrame, metric: str) -> ReportTable:
    """Build the table of one metric from the values that `comparison.values_of_metric` returns."""
    estimated = estimates(values)
    seeds = max(each.number for each in estimated.values())
    data = unique(name for name, _ in estimated)
    strategies = sort_strategies(name for _, name in estimated)
    shown = [
        {"strategy": strategy}
        | {
            name: cells.mean(estimated[name, strategy], seeds) if (name, strategy) in estimated else cells.MISSING
            for name in data
        }
        for strategy in strategies
    ]
    numbers = [{"data": name, "strategy": strategy} | each._asdict() for (name, strategy), each in estimated.items()]
    return ReportTable(
        file_name(metric),
        f"Test {metric_name(metric)}, in percent",
        pd.DataFrame(numbers),
        pd.DataFrame(shown),
        _note(seeds, {each.number for each in estimated.values()}, len(estimated) < len(data) * len(strategies)),
    )


def _note(seeds: int, numbers: set[int], some_missing: bool) -> str:
    if seeds == 1:
        sentences = ["One seed; a single seed has no interval."]
    else:
        sentences = [f"Mean over {seeds} seeds ± half of its 95% interval (Student's t)."]
        if numbers != {seeds}:
            sentences.append(
                "Brackets give the number of finished seeds if it is lower; a single seed has no interval."
            )
    if some_missing:
        sentences.append(f"{cells.MISSING}: no finished run.")
    return " ".join(sentences)
