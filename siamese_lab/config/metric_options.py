"""Check the options of the group `metrics`, without importing PyTorch."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from siamese_lab.errors import UserError
from siamese_lab.runs.plain_values import shortened

MOST_KS = 20
"""Largest number of K's of Recall@K. Each one is a metric with its own tables in a report."""


def check_ks(ks: Any, option: str = "metrics.k") -> None:
    """Raise UserError unless the K's of Recall@K are null, or ascending whole numbers that begin with 1.

    Recall@1 is always among them, because it selects the best weights and is the headline of every report.

    >>> check_ks([1, 10, 100, 1000])
    """
    if ks is None:
        return
    whole = isinstance(ks, Sequence) and not isinstance(ks, str) and all(type(each) is int for each in ks)
    if not whole or not 0 < len(ks) <= MOST_KS or ks[0] != 1 or any(b <= a for a, b in pairwise(ks)):
        raise UserError(
            f"{option} must be null, or at most {MOST_KS} ascending whole numbers that begin with 1, such as "
            f"[1, 10, 100], but is {shortened(str(ks))}. Recall@1 selects the best weights and heads every report."
        )
