"""Pairs of images that a data set's protocol wants to be decided, with the pairs to choose the threshold on.

Shapes: M pairs.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.tables.image_table import ImageTable


class RowPairs(NamedTuple):
    """Pairs of rows of an image table."""

    first_M: Tensor
    """int64."""
    second_M: Tensor
    """int64."""
    same_M: Tensor
    """bool: whether both images are of one class."""


class OfficialPairs(NamedTuple):
    """One protocol."""

    name: str
    """Prefix of the figures in results, in lower case: `view_1` is shown as "View 1"."""
    table: ImageTable
    """The images of all pairs, each once."""
    choose: RowPairs
    """The pairs to choose the threshold on, as rows of `table`."""
    decide: RowPairs
    """The pairs to report, as rows of `table`."""


def official_pairs(name: str, everyone: ImageTable, choose: RowPairs, decide: RowPairs) -> OfficialPairs:
    """Make a protocol from pairs of rows of a larger table, of which only the images of the pairs are kept."""
    needed = torch.cat([choose.first_M, choose.second_M, decide.first_M, decide.second_M]).unique()

    def renumbered(pairs: RowPairs) -> RowPairs:
        first_M, second_M = (torch.searchsorted(needed, row_M) for row_M in (pairs.first_M, pairs.second_M))
        return pairs._replace(first_M=first_M, second_M=second_M)

    return OfficialPairs(name, everyone.rows(needed), renumbered(choose), renumbered(decide))
