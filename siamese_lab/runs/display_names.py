"""How strategies and figures are written for people, and in what order they stand."""

import re
from collections.abc import Iterable

METRICS = {"r_precision": "R-Precision", "map@r": "MAP@R"} | {
    name: name.upper() for name in ("mrr", "auc", "eer", "nmi", "ami")
}
"""Those that are not written as their names begin."""
STRATEGIES = ("random", "hard", "semi_hard", "distance_weighted")
"""Those of the lab's question, from the baseline on; others follow by name."""
COUNTS = ("threshold", "positives", "negatives")
"""What stands among the figures of a test and is none."""
LOWER_IS_BETTER = ("eer",)


def metric_name(metric: str) -> str:
    """Of `recall@1`: Recall@1; of `view_1/auc`: AUC, View 1."""
    *protocol, name = metric.split("/")
    told = METRICS.get(name) or (name.upper() if "@far" in name else name.capitalize().replace("_", " "))
    return ", ".join([told, *(each.capitalize().replace("_", " ") for each in protocol)])


def sort_strategies(names: Iterable[str]) -> list[str]:
    """Each once."""
    return sorted(set(names), key=lambda name: (STRATEGIES.index(name) if name in STRATEGIES else 99, name))


def unique(names: Iterable[str]) -> list[str]:
    """Return each name once, in the order of first appearance; `runs.figures` lists data sets as tables show them."""
    return list(dict.fromkeys(names))


def is_figure(metric: str) -> bool:
    """Whether this is worth a mean, and no count."""
    return metric.split("/")[-1] not in COUNTS


def higher_is_better(metric: str) -> bool:
    """Whether a higher figure is a better one."""
    return metric.split("/")[-1] not in LOWER_IS_BETTER


def file_name(metric: str) -> str:
    """Of letters that every file system takes: `recall_at_1`."""
    return re.sub(r"[^\w.-]+", "_", metric.replace("@", "_at_").replace("=", "_"))
