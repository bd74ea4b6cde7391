"""The table of the factors: the mean of a metric for every strategy at every level of a factor."""

import pandas as pd

from siamese_lab.runs.display_names import file_name, metric_name, sort_strategies
from siamese_lab.study.statistics import estimate
from siamese_lab.study.tables import cells
from siamese_lab.study.tables.table import ReportTable

NOTE = (
    "Mean over seeds ± half of its 95% interval (Student's t); brackets give the number of seeds. The standard level, "
    "marked with *, counts only the seeds that another level of the factor has too. All other options are at their "
    "standard values."
)


def factors(values: pd.DataFrame, metric: str) -> ReportTable:
    """Build the table from the values that `study.factors.factor_values` returns."""
    strategies = sort_strategies(values["strategy"])
    shown, numbers = [], []
    for (data, factor, level, standard), of_level in values.groupby(
        ["data", "factor", "level", "standard"], sort=False
    ):
        row = {"data": data, "factor": factor, "level": f"{level}*" if standard else level}
        for strategy in strategies:
            of_cell = of_level.loc[of_level["strategy"] == strategy, "value"]
            row[strategy] = cells.MISSING
            if len(of_cell):
                found = estimate(of_cell.tolist())
                row[strategy] = cells.mean(found, seeds=0)
                numbers.append(
                    {"data": data, "factor": factor, "level": level, "standard": standard, "strategy": strategy}
                    | found._asdict()
                )
        shown.append(row)
    return ReportTable(
        f"{file_name(metric)}_of_factors",
        f"Test {metric_name(metric)} at the levels of each factor, in percent",
        pd.DataFrame(numbers),
        pd.DataFrame(shown),
        NOTE,
    )
