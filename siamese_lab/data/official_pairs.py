"""Pairs of images that a data set's protocol wants to be decided, with the pairs to choose a threshold on.

Shapes: N pairs, M images.
"""

from typing import NamedTuple

from torch import Tensor

from siamese_lab.data.image_table import ImageTable


class RowPairs(NamedTuple):
    """Pairs of rows of a table."""

    left_N: Tensor
    right_N: Tensor
    same_N: Tensor


class OfficialPairs(NamedTuple):
    """One protocol."""

    name: str
    """As in results: `view_1` or `view_2`."""
    table: ImageTable
    """The images of all its pairs, each once."""
    choose: RowPairs
    """To choose the threshold on."""
    decide: RowPairs
    """To be reported."""
