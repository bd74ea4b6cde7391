"""The interface of image tables: labeled images by row, either in memory or decoded on request.

Shapes: N images, B of them at a time, C channels, H × W pixels.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

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

        A table may read indices ahead of the images that it yields.
        """
