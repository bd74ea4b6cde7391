"""One-shot runs that a data set's protocol defines: in each run every image is given to one of W known images.

Shapes: E runs, W known images of a run, each of another class, Q images to classify in a run.
"""

from typing import NamedTuple

from torch import Tensor

from siamese_lab.data.tables.image_table import ImageTable


class OneShot(NamedTuple):
    """All runs of one protocol."""

    name: str
    """Ends the key of the protocol in evaluation.json: `one_shot_NAME`."""
    title: str
    """Follows "One-shot, " in tables."""
    how: str
    """States the protocol in a sentence or two that a paper could take over."""
    table: ImageTable
    """The images of all runs, each once."""
    known_EW: Tensor
    """int64: rows of the known images."""
    asked_EQ: Tensor
    """int64: rows of the images to classify."""
    answer_EQ: Tensor
    """int64, 0…W − 1: which of the known images each one is to be given to."""
