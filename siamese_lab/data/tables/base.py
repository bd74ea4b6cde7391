"""The interface of image tables: labeled images by row, either in memory or decoded on request.

Shapes: N images, M of them in some classes, B of them at a time, C channels, H × W pixels.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

Tag = TypeVar("Tag")


class BaseTable(Protocol):
    """Labeled images by row. Batches are drawn from such a table."""

    @property
    def labels_N(self) -> Tensor:
        """Class of each image: indices into `class_names` (int64)."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class."""

    def __len__(self) -> int: ...

    def classes(self, keep: Sequence[int]) -> Any:
        """Return a table with the classes `keep` only. Their labels become 0, 1, … in that order."""

    def fetch(self, indices: Iterable[tuple[Tag, Tensor]]) -> Iterator[tuple[Tag, Tensor]]:
        """Yield the images (uint8, B×C×H×W) for each tensor of indices (B), together with the tag of that tensor.

        A table of frozen features yields float32, B×F×1×1.

        A table may read indices ahead of the images that it yields.
        """


class SelectedClasses(NamedTuple):
    """Holds the images of some classes of a table, with new labels."""

    index_M: Tensor
    """int64: row of each image in the table."""
    labels_M: Tensor
    """int64: new label of each image, an index into `class_names`."""
    class_names: tuple[str, ...]


def select_classes(table: BaseTable, keep: Sequence[int]) -> SelectedClasses:
    """Find the images of the classes `keep`. Their labels become 0, 1, … in that order.

    Args:
        table: any table.
        keep: different labels of the table.
    """
    renumbered = torch.full((len(table.class_names),), -1)
    renumbered[list(keep)] = torch.arange(len(keep))
    labels_N = renumbered[table.labels_N]
    index_M = (labels_N >= 0).nonzero().squeeze(1)
    return SelectedClasses(index_M, labels_N[index_M], tuple(table.class_names[label] for label in keep))
