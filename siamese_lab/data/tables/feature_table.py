"""A table of frozen features: the outputs of a backbone, kept as one float32 tensor. A batch is one gather.

Shapes: N images of the table, S stored images, F features, B images at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from siamese_lab.data.tables.base import Tag, select_classes


@dataclass(frozen=True)
class FeatureTable:
    """Labeled features by row. The tables that `classes` returns share the features of the table they come from."""

    stored_SF: Tensor
    """Features of all stored images (float32)."""
    labels_N: Tensor
    """Class of each image: indices into `class_names` (int64)."""
    class_names: tuple[str, ...]
    row_N: Tensor
    """Row of `stored_SF` for each image (int64)."""

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def features_NF(self) -> Tensor:
        """Return the features of the table's images, as a copy."""
        return self.stored_SF.index_select(0, self.row_N)

    def classes(self, keep: Sequence[int]) -> "FeatureTable":
        """Return a table with the classes `keep` only. Their labels become 0, 1, … in that order."""
        index_M, labels_M, class_names = select_classes(self, keep)
        return FeatureTable(self.stored_SF, labels_M, class_names, self.row_N[index_M])

    def fetch(self, indices: Iterable[tuple[Tag, Tensor]]) -> Iterator[tuple[Tag, Tensor]]:
        """Yield the features (float32, B×F×1×1) for each tensor of indices, together with its tag; see `BaseTable`."""
        for tag, index_B in indices:
            features_BF = self.stored_SF.index_select(0, self.row_N.index_select(0, index_B))
            yield tag, features_BF[:, :, None, None]
