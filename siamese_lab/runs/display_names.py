"""Display names of metrics, and the display order of strategies and data sets."""

import re
from collections.abc import Iterable

METRICS = {"r_precision": "R-Precision", "map@r": "MAP@R"} | {
    name: name.upper() for name in ("mrr", "auc", "eer", "nmi", "ami")
}
"""Display names of metrics that capitalization does not give."""
STRATEGIES = ("random", "hard", "semi_hard", "distance_weighted")
"""Strategies that the lab compares, the baseline first; other strategies follow in alphabetical order."""
COUNTS = ("threshold", "positives", "negatives")
"""Entries of the test results that are not metrics."""
LOWER_IS_BETTER = ("eer",)


def metric_name(metric: str) -> str:
    """Return the display name of a metric: "Recall@1" for `recall@1`, "AUC, View 1" for `view_1/auc`."""
    *protocol, name = metric.split("/")
    shown = METRICS.get(name) or (name.upper() if "@far" in name else name.capitalize().replace("_", " "))
    return ", ".join([shown, *(each.capitalize().replace("_", " ") for each in protocol)])


def sort_strategies(names: Iterable[str]) -> list[str]:
    """Return each strategy once, in display order."""
    return sorted(set(names), key=lambda name: (STRATEGIES.index(name) if name in STRATEGIES else 99, name))


def unique(names: Iterable[str]) -> list[str]:
    """Return each name once, in the order of first appearance."""
    return list(dict.fromkeys(names))


def is_figure(metric: str) -> bool:
    """Return whether the value is a metric, not a count or a threshold."""
    return metric.split("/")[-1] not in COUNTS


def higher_is_better(metric: str) -> bool:
    """Return whether a higher value of the metric is better."""
    return metric.split("/")[-1] not in LOWER_IS_BETTER


def file_name(metric: str) -> str:
    """Return a name that every file system accepts, such as `recall_at_1`."""
    return re.sub(r"[^\w.-]+", "_", metric.replace("@", "_at_").replace("=", "_"))
