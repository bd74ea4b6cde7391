"""Protocols that the publishers of a data set define: pairs of images to verify, and one-shot runs.

Shapes: M pairs; E runs, W known images in a run (each of another class), Q images to classify in a run.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.tables.base import BaseTable
from siamese_lab.data.tables.image_table import ImageTable


class RowPairs(NamedTuple):
    """Pairs of rows of an image table."""

    first_M: Tensor
    """Row of the first image (int64)."""
    second_M: Tensor
    """Row of the second image (int64)."""
    same_M: Tensor
    """True if both images belong to one class (bool)."""


class OfficialPairs(NamedTuple):
    """One verification protocol: pairs that choose a threshold, and pairs that are reported."""

    name: str
    """Prefix of the figures in results, in lower case: `view_1` is shown as "View 1"."""
    table: BaseTable
    """The images of all pairs. Each image appears once."""
    choose: RowPairs
    """The pairs that choose the threshold, as rows of `table`."""
    decide: RowPairs
    """The pairs that are reported, as rows of `table`."""


def official_pairs(name: str, all_images: ImageTable, choose: RowPairs, decide: RowPairs) -> OfficialPairs:
    """Make a protocol from pairs of rows of a larger table. Keep only the images that occur in a pair."""
    needed = torch.cat([choose.first_M, choose.second_M, decide.first_M, decide.second_M]).unique()

    def renumbered(pairs: RowPairs) -> RowPairs:
        first_M, second_M = (torch.searchsorted(needed, row_M) for row_M in (pairs.first_M, pairs.second_M))
        return pairs._replace(first_M=first_M, second_M=second_M)

    return OfficialPairs(name, all_images.rows(needed), renumbered(choose), renumbered(decide))


class OneShot(NamedTuple):
    """All runs of one one-shot protocol: each image to classify is assigned to one of W known images."""

    name: str
    """Ends the key of the protocol in evaluation.json: `one_shot_NAME`."""
    title: str
    """Follows "One-shot, " in tables."""
    how: str
    """One or two sentences that state the protocol so that a paper can quote them."""
    table: ImageTable
    """The images of all runs. Each image appears once."""
    known_EW: Tensor
    """Rows of the known images (int64)."""
    asked_EQ: Tensor
    """Rows of the images to classify (int64)."""
    answer_EQ: Tensor
    """Number of the correct known image, 0…W − 1, for each image to classify (int64)."""
