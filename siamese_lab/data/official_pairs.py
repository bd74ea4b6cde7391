"""Pairs of images that a data set's protocol wants to be decided, with those to choose the threshold on.

Shapes: M pairs.
"""

from typing import NamedTuple

import torch

from siamese_lab.data.image_table import ImageTable
from siamese_lab.data.lfw_pairs import Pairs


class OfficialPairs(NamedTuple):
    """One protocol."""

    name: str
    """As in results: `view_1` or `view_2`."""
    table: ImageTable
    """The images of all its pairs, each once."""
    choose: Pairs
    """To choose the threshold on; of rows of this table, as the next."""
    decide: Pairs
    """To be reported."""


def official_pairs(name: str, everyone: ImageTable, choose: Pairs, decide: Pairs) -> OfficialPairs:
    """A protocol of pairs of rows of a larger table."""
    needed = torch.cat([choose.first_M, choose.second_M, decide.first_M, decide.second_M]).unique()

    def renumbered(pairs: Pairs) -> Pairs:
        first_M, second_M = (torch.searchsorted(needed, row_M) for row_M in (pairs.first_M, pairs.second_M))
        return pairs._replace(first_M=first_M, second_M=second_M)

    return OfficialPairs(name, everyone.rows(needed), renumbered(choose), renumbered(decide))
