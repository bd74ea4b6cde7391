"""Analyze the runs of a study once; tables, figures, conclusions and the page share the analysis."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from siamese_lab.runs.display_names import higher_is_better
from siamese_lab.study import comparison, ranks, runs, time_to_recall
from siamese_lab.study.bounds import MAX_PAIRS
from siamese_lab.study.comparison import Comparison
from siamese_lab.study.factors import factor_values
from siamese_lab.study.hypotheses import Verdict, evaluate
from siamese_lab.study.pairs import Pair, compare_pairs
from siamese_lab.study.plan import hypotheses
from siamese_lab.study.protocol import Protocol, protocol
from siamese_lab.study.ranks import Ranks
from siamese_lab.study.references import reference_values
from siamese_lab.study.run_table import run_table
from siamese_lab.study.runs import Study
from siamese_lab.study.status import Statuses, study_statuses
from siamese_lab.study.time_to_recall import TimeToRecall

HEADLINE = "recall@1"
PAIRED = (HEADLINE, "map@r")
"""Metrics by which all pairs of strategies are compared."""

NOT_ALONGSIDE = {"LFW, closed": "LFW, View 1"}
"""Data sets that are not ranked alongside another one, because they show the same people under another protocol."""


class Analysis(NamedTuple):
    """The statistics of a study."""

    study: Study
    values: dict[str, pd.DataFrame]
    """Test values of each metric, as returned by `comparison.values_of_metric`; the headline metric comes first."""
    comparisons: dict[str, list[Comparison]]
    """Comparisons with random sampling for each metric; empty if the study has no random sampling."""
    pairs: dict[str, list[Pair]]
    """Comparisons of all pairs of strategies for each metric of `PAIRED`; empty with fewer than two seeds."""
    verdicts: list[Verdict]
    """Verdicts on the hypotheses; empty if no data set that decides them has enough runs for any."""
    statuses: Statuses
    """Status of each data set and strategy, by the headline metric."""
    ranks: dict[str, Ranks]
    """Ranks for each metric that has at least two strategies on at least two data sets."""
    references: dict[str, pd.DataFrame]
    """Values of the classifier, raw pixels and the untrained network for each metric, in the form of `values`."""
    factors: pd.DataFrame
    """Values of the headline metric at the levels of each factor, as returned by `factors.factor_values`."""
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
    ranked = {metric: ranks.rank(values[metric], higher_is_better(metric), NOT_ALONGSIDE) for metric in metrics}
    curves = runs.curves(study)
    return Analysis(
        study,
        values,
        {metric: comparison.compare_with_baseline(values[metric]) for metric in metrics},
        {
            metric: each
            for metric in PAIRED
            if metric in values and (each := pairs_with_intervals(values[metric], metric))
        },
        verdicts_with_numbers(study),
        study_statuses(study, HEADLINE),
        {metric: each for metric, each in ranked.items() if each is not None},
        {metric: reference_values(study, metric) for metric in metrics},
        factor_values(study, HEADLINE),
        curves,
        time_to_recall.times_to_recall(curves, levels),
        protocol(study),
    )


def pairs_with_intervals(values: pd.DataFrame, metric: str) -> list[Pair]:
    """Compare all pairs of strategies.

    Return an empty list if no pair has at least two seeds on any data set, or if there are more than `MAX_PAIRS` pairs.
    """
    if number_of_pairs(values) > MAX_PAIRS:
        return []
    pairs = compare_pairs(values, higher_is_better=higher_is_better(metric))
    return pairs if any(each.low is not None for each in pairs) else []


def verdicts_with_numbers(study: Study) -> list[Verdict]:
    """Evaluate the hypotheses; return an empty list if no data set that decides them has enough runs for any."""
    if not any(run.results.data in hypotheses()["agree"] for run in study.every):
        return []
    verdicts = evaluate(run_table(study.every))
    numbers = [each for verdict in verdicts for each in verdict.findings if each.number is not None]
    return verdicts if any(each.data in hypotheses()["agree"] for each in numbers) else []


def number_of_pairs(values: pd.DataFrame) -> int:
    """Return the number of pairs of strategies on all data sets together."""
    strategies = values.groupby(level="data").size()
    return int((strategies * (strategies - 1) // 2).sum())
