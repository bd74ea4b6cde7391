"""Compare the Recall@1 of each test class under the best strategy with that under random sampling."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from siamese_lab.study.comparison import BASELINE
from siamese_lab.study.runs import Run, Study

METRIC = "recall@1"


class ClassComparison(NamedTuple):
    """The Recall@1 of the classes of a data set under two strategies, as means over the seeds that test a class."""

    data: str
    best: str
    """The strategy with the highest mean test Recall@1, except random sampling."""
    random: list[float]
    others: list[float]


def compare_classes(study: Study) -> list[ClassComparison]:
    """Return a comparison for each data set with results of classes for random sampling and another strategy."""
    found = []
    for data in study.data:
        runs = [run for run in study.finished if run.data == data and run.results.per_class]
        others = {run.strategy for run in runs} - {BASELINE}
        if not others or not any(run.strategy == BASELINE for run in runs):
            continue
        best = max(sorted(others), key=lambda name: _mean(runs, name))
        seeds = {run.seed for run in runs if run.strategy == BASELINE} & {
            run.seed for run in runs if run.strategy == best
        }
        shared = [run for run in runs if run.seed in seeds]
        one, other = _by_class(shared, BASELINE), _by_class(shared, best)
        names = sorted(one.keys() & other.keys())
        if names:
            found.append(ClassComparison(data, best, [one[name] for name in names], [other[name] for name in names]))
    return found


def _mean(runs: Sequence[Run], strategy: str) -> float:
    values = [value for run in runs if run.strategy == strategy and (value := run.results.test.get(METRIC)) is not None]
    return fmean(values) if values else -1.0


def _by_class(runs: Sequence[Run], strategy: str) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for run in runs:
        for name, of_class in (run.results.per_class or {}).items():
            if run.strategy == strategy and METRIC in of_class:
                values.setdefault(name, []).append(of_class[METRIC])
    return {name: fmean(each) for name, each in values.items()}
