"""What batches are drawn from: images with labels, whether they lie in memory or are decoded when asked for.

Shapes: N images, B of them at a time, C channels, H × W pixels.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor

Tag = TypeVar("Tag")


class BaseTable(Protocol):
    """Labelled images, of which a part can be taken."""

    @property
    def labels_N(self) -> Tensor:
        """int64, indices into `class_names`."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One for each class."""

    def __len__(self) -> int: ...

    def classes(self, keep: Sequence[int]) -> Any:
        """A table of the classes `keep` only, whose labels become 0, 1, … in that order."""

    def fetch(self, indices: Iterable[tuple[Tag, Tensor]]) -> Iterator[tuple[Tag, Tensor]]:
        """The images (uint8, B×C×H×W) at each of the indices (B), which are asked for ahead of time where that helps.

        Each comes with the tag that its indices came with.
        """
