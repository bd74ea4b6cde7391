"""The table of the difference between each strategy and random sampling on every data set, in percentage points."""

from collections.abc import Sequence

import pandas as pd

from siamese_lab.runs.display_names import file_name, metric_name
from siamese_lab.study.comparison import BASELINE, Comparison
from siamese_lab.study.statistics import SEEDS_OF_EFFECT
from siamese_lab.study.tables import cells
from siamese_lab.study.tables.table import ReportTable

NOTE = (
    "Columns: the mean difference over seeds, its 95% interval (Student's t, for this difference alone), the p-value "
    "of the paired t-test, the p-value with Holm's correction for all tests of this table, and the effect size: "
    f"Cohen's d_z with Hedges' correction (g_z), from {SEEDS_OF_EFFECT} seeds on. {cells.MISSING}: not testable, "
    "because there are too few seeds or the difference is the same for every seed."
)


def differences(compared: Sequence[Comparison], metric: str) -> ReportTable:
    """Build the table of one metric."""
    return ReportTable(
        f"{file_name(metric)}_difference_from_{BASELINE}",
        f"Test {metric_name(metric)}, difference from {BASELINE} sampling in points",
        pd.DataFrame(
            {"data": each.data, "strategy": each.strategy}
            | each.difference._asdict()
            | {"corrected_p": each.corrected_p}
            for each in compared
        ),
        pd.DataFrame(_row(each) for each in compared),
        NOTE,
    )


def _row(compared: Comparison) -> dict[str, str]:
    difference = compared.difference
    return {
        "data": compared.data,
        "strategy": compared.strategy,
        "difference": cells.points(difference.mean),
        "95% interval": cells.interval(difference.low, difference.high),
        "p": cells.p_value(difference.p),
        "p (Holm)": cells.p_value(compared.corrected_p),
        "g_z": cells.MISSING if difference.effect is None else f"{difference.effect:+.1f}".replace("-", "−"),
        "seeds": str(difference.number),
    }
