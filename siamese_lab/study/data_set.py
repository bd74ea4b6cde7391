"""The description of a data set that a run recorded: title, position in tables, notes, and how folds are joined."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PureWindowsPath
from types import MappingProxyType
from typing import Any, NamedTuple

from siamese_lab.runs.plain_values import WrongValueError, build_record, check_name, of_type
from siamese_lab.runs.results import Results

EARLIER_TITLES = {
    "digits": "Digits",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "omniglot": "Omniglot",
    "lfw": "LFW",
}
"""Titles of data sets in results of earlier versions, which have no description; in the order of the tables."""


EARLIER_OPTIONS = {"fold": int | None, "protocol": str | None, "root": str | None, "view": int | None}
"""Types of the options that describe a data set in results of earlier versions."""


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


@dataclass
class RecordedFold:
    """One fold, as results.json stores it."""

    fold: int
    folds: int
    option: str
    figures: str = ""


@dataclass
class RecordedDataSet:
    """The description of a data set, as results.json stores it. See `siamese_lab.data.info`."""

    title: str
    protocol: str | None
    order: int
    notes: list[str]
    compared: list[str]
    cross_validation: RecordedFold | None


MAX_FOLDS = 1000


def data_set(run: Results) -> DataSet:
    """Read the description of a run's data set.

    Raises:
        WrongValueError: if the description in results.json is malformed.
    """
    if run.data_set is None:
        try:
            described = _earlier_data_set(run)
        except (KeyError, TypeError, AttributeError) as error:
            raise WrongValueError(f"its configuration of the data set is incomplete: {error!r}") from error
    else:
        recorded = build_record(RecordedDataSet, run.data_set, "data_set")
        folds = recorded.cross_validation
        described = DataSet(
            label=", ".join(filter(None, (recorded.title, recorded.protocol))),
            order=recorded.order,
            notes=tuple(recorded.notes),
            compared={name: run.images[name] for name in recorded.compared if name in run.images},
            fold=None if folds is None else Fold(folds.fold, folds.folds, f"data.{folds.option}", folds.figures),
        )
    check_name(described.label, "the title of the data set")
    if described.fold is not None and not (0 <= described.fold.number < described.fold.of <= MAX_FOLDS):
        raise WrongValueError(f"the fold is {described.fold.number} of {described.fold.of}")
    return described


def _earlier_data_set(run: Results) -> DataSet:
    options = run.choices["data"]
    title = EARLIER_TITLES.get(run.data, run.data)
    for option, kind in EARLIER_OPTIONS.items():
        of_type(options.get(option), kind, f"choices.data.{option}")
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
