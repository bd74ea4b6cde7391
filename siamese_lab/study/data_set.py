"""The description of a data set that a run recorded: title, position in tables, notes, and how folds are joined."""

from collections.abc import Mapping
from pathlib import PureWindowsPath
from types import MappingProxyType
from typing import Any, NamedTuple

from siamese_lab.runs.results import Results

EARLIER_TITLES = {
    "digits": "Digits",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "omniglot": "Omniglot",
    "lfw": "LFW",
}
"""Titles of data sets in results of earlier versions, which have no description; in the order of the tables."""


class Fold(NamedTuple):
    """One fold of a protocol that reports the mean over all folds."""

    number: int
    of: int
    option: str
    """The option that chooses the fold, such as "data.fold"."""
    prefix: str
    """Prefix of the names of the metrics to average."""


class DataSet(NamedTuple):
    """The description of a data set."""

    label: str
    """Title and protocol, because results of two protocols cannot be compared."""
    order: int
    notes: tuple[str, ...] = ()
    compared: Mapping[str, Any] = MappingProxyType({})
    """Facts about the images that must agree between runs that are compared, such as the alignment of faces."""
    fold: Fold | None = None


def data_set(run: Results) -> DataSet:
    """Read the description of a run's data set.

    Raises:
        KeyError, TypeError: if the description in results.json is malformed.
    """
    recorded = run.data_set
    if recorded is None:
        return _earlier_data_set(run)
    folds = recorded["cross_validation"]
    return DataSet(
        label=", ".join(filter(None, (str(recorded["title"]), recorded["protocol"]))),
        order=int(recorded["order"]),
        notes=tuple(recorded["notes"]),
        compared={name: run.images[name] for name in recorded["compared"] if name in run.images},
        fold=None
        if folds is None
        else Fold(int(folds["fold"]), int(folds["folds"]), f"data.{folds['option']}", folds["figures"]),
    )


def _earlier_data_set(run: Results) -> DataSet:
    options = run.choices["data"]
    title = EARLIER_TITLES.get(run.data, run.data)
    protocol = options.get("protocol")
    fold = None
    if run.data == "image_folder":
        title = f"Images of {PureWindowsPath(options['root']).name}"
    if "view" in options:
        protocol = f"View {options['view']}"
        fold = Fold(options["fold"], 10, "data.fold", "view_2/") if options["view"] == 2 else None
    known = [*EARLIER_TITLES]
    order = 10 * (1 + (known.index(run.data) if run.data in known else len(known)))
    compared = {"alignment": run.images["alignment"]} if "alignment" in run.images else {}
    return DataSet(f"{title}, {protocol}" if protocol else title, order, compared=compared, fold=fold)
