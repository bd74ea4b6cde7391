"""The table of the control arms: their mean metric, and the difference from the standard runs that they change."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from siamese_lab.runs.display_names import metric_name
from siamese_lab.study import statistics
from siamese_lab.study.comparison import BASELINE
from siamese_lab.study.factors import in_words
from siamese_lab.study.runs import Placed, Run, Study
from siamese_lab.study.tables import cells
from siamese_lab.study.tables.table import ReportTable

NOTE = (
    "Mean over seeds ± half of its 95% interval; brackets give the number of seeds. A control arm is compared, seed by "
    "seed, with the standard runs of its strategy, or of random sampling if its strategy is no arm of the study. The "
    "interval is Student's t, without a correction for several controls."
)


def controls(study: Study, metrics: Sequence[str]) -> ReportTable | None:
    """Build the table; None if no control arm has finished. The difference is that of the first metric."""
    arms: dict[tuple[str, str, str], list[Run]] = {}
    for placed in study.controls:
        if placed.run.finished:
            arms.setdefault((placed.run.data, placed.run.strategy, _name(placed)), []).append(placed.run)
    if not arms:
        return None
    rows = [_row(study, *arm, runs, metrics) for arm, runs in arms.items()]
    return ReportTable(
        "controls",
        "Control arms on test images, in percent; differences in points",
        pd.DataFrame(numbers for numbers, _ in rows),
        pd.DataFrame(shown for _, shown in rows),
        NOTE,
    )


def _name(placed: Placed) -> str:
    return f"{placed.run.strategy}, {in_words(placed.options)}" if placed.options else placed.run.strategy


def _row(
    study: Study, data: str, strategy: str, name: str, runs: Sequence[Run], metrics: Sequence[str]
) -> tuple[dict[str, object], dict[str, str]]:
    numbers: dict[str, object] = {"data": data, "arm": name}
    shown = {"data": data, "arm": name}
    for metric in metrics:
        values = _by_seed(runs, metric)
        if values:
            found = statistics.estimate([*values.values()])
            numbers |= {f"{metric}_{key}": value for key, value in found._asdict().items()}
        shown[metric_name(metric)] = cells.mean(found, seeds=0) if values else cells.MISSING
    compared = strategy if strategy in study.strategies else BASELINE
    standard = [run for run in study.finished if (run.data, run.strategy) == (data, compared)]
    own, other = _by_seed(runs, metrics[0]), _by_seed(standard, metrics[0])
    both = sorted(own.keys() & other.keys())
    shown |= {"compared with": compared, "difference": cells.MISSING, "95% interval": cells.MISSING}
    if both:
        first, second = (np.array([each[seed] for seed in both]) for each in (own, other))
        difference = statistics.difference(first, second)
        numbers |= {"compared_with": compared} | difference._asdict()
        shown["difference"] = cells.points(difference.mean)
        shown["95% interval"] = cells.interval(difference.low, difference.high)
    return numbers, shown


def _by_seed(runs: Sequence[Run], metric: str) -> dict[int, float]:
    found: dict[int, float] = {}
    for run in runs:
        value = run.results.test.get(metric)
        if value is not None:
            found.setdefault(run.seed, value)
    return found
