"""Display names of metrics, and the display order of strategies and data sets."""

import re
from collections.abc import Iterable
from typing import NamedTuple

METRICS = {"r_precision": "R-Precision", "map@r": "MAP@R", "map": "mAP"} | {
    name: name.upper() for name in ("mrr", "auc", "eer", "nmi", "ami", "f1")
}
"""Display names of metrics that capitalization does not give."""
STRATEGIES = ("random", "hard", "semi_hard", "distance_weighted")
"""Strategies that the lab compares, the baseline first; other strategies follow in alphabetical order."""
COUNTS = ("threshold", "positives", "negatives")
"""Entries of the test results that are not metrics."""
LOWER_IS_BETTER = ("eer",)


class MetricKey(NamedTuple):
    """The key of a metric in results.json, taken apart."""

    protocol: str | None
    """Name of the official pairs that the metric belongs to, such as `view_1`; None for retrieval."""
    metric: str


def split_key(key: str) -> MetricKey:
    """Take the key of a metric apart.

    >>> split_key("view_1/auc"), split_key("recall@1")
    (MetricKey(protocol='view_1', metric='auc'), MetricKey(protocol=None, metric='recall@1'))
    """
    protocol, _, metric = key.rpartition("/")
    return MetricKey(protocol or None, metric)


RETRIEVAL = re.compile(r"recall@\d+|map@r")
"""Beginning of the names of metrics that have endings."""
ENDINGS = {"_among_test": "among test", "_macro": "mean of classes"}
"""Endings of the names of metrics that are computed in a second way."""


def metric_name(key: str) -> str:
    """Return the display name of a metric: "Recall@1" for `recall@1`, "AUC, View 1" for `view_1/auc`."""
    protocol, metric = split_key(key)
    for ending, says in ENDINGS.items():
        if metric.endswith(ending) and RETRIEVAL.match(metric):
            return f"{metric_name(key.removesuffix(ending))}, {says}"
    shown = METRICS.get(metric) or (metric.upper() if "@far" in metric else metric.capitalize().replace("_", " "))
    return shown if protocol is None else f"{shown}, {protocol.capitalize().replace('_', ' ')}"


def sort_strategies(names: Iterable[str]) -> list[str]:
    """Return each strategy once, in display order."""
    return sorted(set(names), key=lambda name: (STRATEGIES.index(name) if name in STRATEGIES else 99, name))


def unique(names: Iterable[str]) -> list[str]:
    """Return each name once, in the order of first appearance."""
    return list(dict.fromkeys(names))


def is_figure(metric: str) -> bool:
    """Return whether the value is a metric, not a count or a threshold."""
    return split_key(metric).metric not in COUNTS


def higher_is_better(metric: str) -> bool:
    """Return whether a higher value of the metric is better."""
    return split_key(metric).metric not in LOWER_IS_BETTER


def file_name(metric: str) -> str:
    """Return a name that every file system accepts, such as `recall_at_1`."""
    return re.sub(r"[^\w.-]+", "_", metric.replace("@", "_at_").replace("=", "_"))
