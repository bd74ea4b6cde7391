"""Check the range of numbers in records: metrics are shares in 0…1, and counts and seconds are not negative."""

import math
from collections.abc import Mapping

from siamese_lab.runs.display_names import COUNTS, split_key
from siamese_lab.runs.plain_values import joined, wrong

ROUNDING = 1e-5
"""Largest distance of a share from 0…1, by rounding of float32 sums."""
NO_SHARES = (*COUNTS, "queries")
"""Entries among metrics that are no shares."""


def check_shares(figures: Mapping[str, float | None], place: str) -> None:
    """Raise WrongValueError for a metric outside of 0…1. A metric that is undefined, NaN or infinite is not shown."""
    for name, value in figures.items():
        if value is None or -ROUNDING <= value <= 1 + ROUNDING or not math.isfinite(value):
            continue
        if split_key(name).metric not in NO_SHARES:
            raise wrong(joined(place, name), value, "a share in 0…1")


def check_not_negative(numbers: Mapping[str, float | None], place: str) -> None:
    """Raise WrongValueError for a negative number."""
    for name, value in numbers.items():
        if value is not None and value < 0:
            raise wrong(joined(place, name), value, "a number of at least 0")
