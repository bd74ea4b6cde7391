"""The table of the mean of a metric over seeds ± its 95% interval, for every strategy on every data set."""

import pandas as pd

from siamese_lab.runs.display_names import file_name, metric_name, sort_strategies, unique
from siamese_lab.study.comparison import estimates
from siamese_lab.study.references import CLASSIFIER, FEATURES, PIXELS, REFERENCES, UNTRAINED
from siamese_lab.study.statistics import Estimate, estimate
from siamese_lab.study.tables import cells
from siamese_lab.study.tables.table import ReportTable

EXPLAINED = {
    CLASSIFIER: "Classifier: the same network trained without triplets, by a normalized softmax over training classes.",
    PIXELS: "Raw pixels: the images themselves as embeddings.",
    FEATURES: "Raw features: the frozen features themselves as embeddings.",
    UNTRAINED: "Untrained: the network with its initial weights.",
}


def means(values: pd.DataFrame, metric: str, references: pd.DataFrame | None = None) -> ReportTable:
    """Build the table of one metric.

    Args:
        values: the values of the metric, as returned by `comparison.values_of_metric`.
        metric: name of the metric.
        references: the values of the references, as returned by `references.reference_values`; rows below the others.
    """
    estimated = estimates(values)
    of_references = {} if references is None else {cell: estimate(row.dropna()) for cell, row in references.iterrows()}
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
    names = [name for name in REFERENCES if any(name == each for _, each in of_references)]
    shown += [
        {"strategy": name} | {each: _reference(of_references.get((each, name)), seeds) for each in data}
        for name in names
    ]
    numbers = [
        {"data": name, "strategy": strategy} | each._asdict()
        for (name, strategy), each in (estimated | of_references).items()
    ]
    return ReportTable(
        file_name(metric),
        f"Test {metric_name(metric)}, in percent",
        pd.DataFrame(numbers),
        pd.DataFrame(shown),
        _note(seeds, {each.number for each in estimated.values()}, len(estimated) < len(data) * len(strategies), names),
    )


def _reference(found: Estimate | None, seeds: int) -> str:
    """Return the mean of a reference, which has no interval if it is the same for every seed."""
    if found is None:
        return cells.MISSING
    return cells.percent(found.mean) if not found.deviation else cells.mean(found, seeds)


def _note(seeds: int, numbers: set[int], some_missing: bool, references: list[str]) -> str:
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
    sentences += [EXPLAINED[name] for name in references]
    return " ".join(sentences)
