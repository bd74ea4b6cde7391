"""What a data set says about itself: its title, its place in tables, and what a reader of its figures must know.

A run records the description in results.json, so that reports need no list of data sets.
"""

from typing import Any, NamedTuple


class CrossValidation(NamedTuple):
    """One fold of a protocol whose figure is the mean over all folds."""

    fold: int
    """0…`folds` − 1."""
    folds: int
    option: str
    """The option of the data set that chooses the fold; the report joins runs that differ in nothing else."""
    figures: str = ""
    """Prefix of the test figures to average, such as "view_2/"; an empty prefix averages all test figures."""


class DataSetInfo(NamedTuple):
    """The description that a run records; plain values only."""

    title: str
    protocol: str | None = None
    """Names the use of the images where a set has several uses, as their figures do not compare: "View 1"."""
    order: int = 100
    """Place in tables and figures, lowest first; equal places are sorted by title."""
    notes: tuple[str, ...] = ()
    """Sentences that the report shows as notes on the figures."""
    compared: tuple[str, ...] = ()
    """Entries of `DataModule.provenance` that must agree between runs that are compared, such as "alignment"."""
    cross_validation: CrossValidation | None = None

    def recorded(self) -> dict[str, Any]:
        """Return the description as results.json holds it."""
        folds = self.cross_validation
        return self._asdict() | {
            "notes": list(self.notes),
            "compared": list(self.compared),
            "cross_validation": None if folds is None else folds._asdict(),
        }
