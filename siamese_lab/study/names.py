"""How data sets, strategies and figures are written for people, and in what order they stand."""

import re
from collections.abc import Iterable
from pathlib import PureWindowsPath

from siamese_lab.study.results import Results

METRICS = {"r_precision": "R-Precision", "map@r": "MAP@R"} | {
    name: name.upper() for name in ("mrr", "auc", "eer", "nmi", "ami")
}
"""Those that are not written as their names begin."""
DATA = {
    "digits": "Digits",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "omniglot": "Omniglot",
    "lfw": "LFW",
    "image_folder": "Images of",
}
STRATEGIES = ("random", "hard", "semi_hard", "distance_weighted")
"""Those of the lab's question, from the baseline on; others follow by name."""
COUNTS = ("threshold", "positives", "negatives")
"""What stands among the figures of a test and is none."""
LESS_IS_BETTER = ("eer",)


def metric_name(metric: str) -> str:
    """Of `recall@1`: Recall@1; of `view_1/auc`: AUC, View 1."""
    *protocol, name = metric.split("/")
    told = METRICS.get(name) or (name.upper() if "@far" in name else name.capitalize().replace("_", " "))
    return ", ".join([told, *(each.capitalize().replace("_", " ") for each in protocol)])


def data_name(run: Results) -> str:
    """Of the images and the protocol they are used by, as figures of two protocols are not comparable."""
    options = run.choices["data"]
    name = DATA.get(run.data, run.data)
    if run.data == "image_folder":
        return f"{name} {PureWindowsPath(options['root']).name}"
    if "protocol" in options:
        return f"{name}, {options['protocol']}"
    if "view" in options:
        return f"{name}, View {options['view']}"
    return name


def in_order_of_strategies(names: Iterable[str]) -> list[str]:
    """Each once."""
    return sorted(set(names), key=lambda name: (STRATEGIES.index(name) if name in STRATEGIES else 99, name))


def in_order_of_data(names: Iterable[str]) -> list[str]:
    """Each once, easy sets first."""
    known = list(DATA.values())

    def place(name: str) -> tuple[int, str]:
        return next((number for number, each in enumerate(known) if name.startswith(each)), len(known)), name

    return sorted(set(names), key=place)


def is_figure(metric: str) -> bool:
    """Whether this is worth a mean, and no count."""
    return metric.split("/")[-1] not in COUNTS


def more_is_better(metric: str) -> bool:
    """Whether a higher figure is a better one."""
    return metric.split("/")[-1] not in LESS_IS_BETTER


def file_name(metric: str) -> str:
    """Of letters that every file system takes: `recall_at_1`."""
    return re.sub(r"[^\w.-]+", "_", metric.replace("@", "_at_").replace("=", "_"))
