"""Analyze the runs of a study once; tables, figures, conclusions and the page share the analysis."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from siamese_lab.runs.display_names import higher_is_better
from siamese_lab.study import comparison, ranks, runs, time_to_recall
from siamese_lab.study.comparison import Comparison
from siamese_lab.study.protocol import Protocol, protocol
from siamese_lab.study.ranks import Ranks
from siamese_lab.study.runs import Study
from siamese_lab.study.time_to_recall import TimeToRecall

HEADLINE = "recall@1"


class Analysis(NamedTuple):
    """The statistics of a study."""

    study: Study
    values: dict[str, pd.DataFrame]
    """Test values of each metric, as returned by `comparison.values_of_metric`; the headline metric comes first."""
    comparisons: dict[str, list[Comparison]]
    """Comparisons with random sampling for each metric; empty if the study has no random sampling."""
    ranks: dict[str, Ranks]
    """Ranks for each metric that has at least two strategies on at least two data sets."""
    curves: pd.DataFrame
    times_to_recall: list[TimeToRecall]
    protocol: Protocol


def analyze(study: Study, levels: Sequence[float]) -> Analysis:
    """Analyze a study that has at least one finished run.

    Args:
        study: the study, as returned by `runs.read_study`.
        levels: levels of validation Recall@1 in 0…1; the time to reach each level is measured.
    """
    figures = runs.figures(study)
    metrics = sorted(figures["metric"].unique(), key=lambda metric: metric != HEADLINE)
    values = {metric: comparison.values_of_metric(figures, metric) for metric in metrics}
    ranked = {metric: ranks.rank(values[metric], higher_is_better(metric)) for metric in metrics}
    curves = runs.curves(study)
    return Analysis(
        study,
        values,
        {metric: comparison.compare_with_baseline(values[metric]) for metric in metrics},
        {metric: each for metric, each in ranked.items() if each is not None},
        curves,
        time_to_recall.times_to_recall(curves, levels),
        protocol(study),
    )
