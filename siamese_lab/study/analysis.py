"""All that is computed from the runs of a study, once, for tables, figures, the answer and the page."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from siamese_lab.runs.names import more_is_better
from siamese_lab.study import comparison, ranks, runs, time_to_recall
from siamese_lab.study.comparison import Comparison
from siamese_lab.study.protocol import Protocol, protocol
from siamese_lab.study.ranks import Ranks
from siamese_lab.study.runs import Study
from siamese_lab.study.time_to_recall import Reached

HEADLINE = "recall@1"


class Findings(NamedTuple):
    """What the runs of a study come to."""

    study: Study
    values: dict[str, pd.DataFrame]
    """Of each metric, as `comparison.of_metric` gives; the headline's first."""
    compared: dict[str, list[Comparison]]
    """With random sampling, by each metric; empty where there is none."""
    ranks: dict[str, Ranks]
    """By each metric that ranks at least two strategies on at least two data sets."""
    courses: pd.DataFrame
    reached: list[Reached]
    protocol: Protocol


def find(study: Study, levels: Sequence[float]) -> Findings:
    """The findings of a study with at least one finished run.

    Args:
        study: as read.
        levels: of validation Recall@1, in 0…1, whose reaching is timed.
    """
    figures = runs.figures(study)
    metrics = sorted(figures["metric"].unique(), key=lambda metric: metric != HEADLINE)
    values = {metric: comparison.of_metric(figures, metric) for metric in metrics}
    ranked = {metric: ranks.rank(values[metric], more_is_better(metric)) for metric in metrics}
    courses = runs.courses(study)
    return Findings(
        study,
        values,
        {metric: comparison.against_baseline(values[metric]) for metric in metrics},
        {metric: each for metric, each in ranked.items() if each is not None},
        courses,
        time_to_recall.reach(courses, levels),
        protocol(study),
    )
