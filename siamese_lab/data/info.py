"""The description of a data set: title, position in tables, and notes for a reader of its figures.

A run records the description in results.json, so that reports need no list of data sets.
"""

from typing import Any, NamedTuple


class CrossValidation(NamedTuple):
    """One fold of a protocol that reports the mean over all folds."""

    fold: int
    """Index of the fold, 0…`folds` − 1."""
    folds: int
    option: str
    """The data option that chooses the fold. The report joins runs that differ only in this option."""
    figures: str = ""
    """Prefix of the test figures to average, such as "view_2/"; an empty prefix averages all test figures."""


class DataSetInfo(NamedTuple):
    """The description that a run records. It holds plain values only."""

    title: str
    protocol: str | None = None
    """Name of the protocol if the set has several, such as "View 1". Figures of two protocols are not comparable."""
    order: int = 100
    """Position in tables and figures, lowest first. Equal positions are sorted by title."""
    notes: tuple[str, ...] = ()
    """Sentences that the report shows as notes on the figures."""
    compared: tuple[str, ...] = ()
    """Entries of `DataModule.provenance` that must agree between runs that are compared, such as "alignment"."""
    cross_validation: CrossValidation | None = None

    def recorded(self) -> dict[str, Any]:
        """Return the description in the form that results.json stores."""
        folds = self.cross_validation
        return self._asdict() | {
            "notes": list(self.notes),
            "compared": list(self.compared),
            "cross_validation": None if folds is None else folds._asdict(),
        }
