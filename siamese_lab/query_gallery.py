"""The roles of images in a retrieval test: queries, gallery, and groups that a query does not search.

Shapes: N images, Q queries, M images of the gallery, C classes, T queries of a tile, J images.
"""

from typing import NamedTuple

import torch
from torch import Tensor

NO_GROUP = -1


class QueryGallery(NamedTuple):
    """The role of each image: a query searches the gallery, without itself and images of its own class and group.

    Images of the query's group that have another class stay in the gallery.
    """

    query_N: Tensor
    """bool: True if the image is a query."""
    gallery_N: Tensor
    """bool: True if the image is searched."""
    group_N: Tensor | None = None
    """int64: the group of each image, such as a camera; NO_GROUP if it has none. None if no image has a group."""

    @classmethod
    def everyone(cls, count: int) -> "QueryGallery":
        """Return the roles of a test without roles: each image is a query and is searched by all others."""
        return cls(torch.ones(count, dtype=torch.bool), torch.ones(count, dtype=torch.bool))

    def rows(self, index_M: Tensor) -> "QueryGallery":
        """Return the roles of some of the images."""
        index_M = index_M.to(self.query_N.device)
        group_M = None if self.group_N is None else self.group_N[index_M]
        return QueryGallery(self.query_N[index_M], self.gallery_N[index_M], group_M)

    def to(self, device: torch.device) -> "QueryGallery":
        """Return the roles on a device."""
        return QueryGallery(*(None if each_N is None else each_N.to(device) for each_N in self))  # type: ignore[arg-type]

    def tensors(self) -> list[Tensor]:
        """Return the tensors that decide which images are compared."""
        return [each_N for each_N in self if each_N is not None]

    def matches(self, labels_N: Tensor) -> Tensor:
        """Return the number of images of the gallery that are a match of each image (int64, N).

        Args:
            labels_N: the classes, on the device of the roles.
        """
        if not len(labels_N):
            return labels_N
        searched_C = labels_N[self.gallery_N].bincount(minlength=int(labels_N.max()) + 1)
        return searched_C[labels_N] - self.ignored(labels_N)

    def ignored(self, labels_N: Tensor) -> Tensor:
        """Return the number of images of its class in the gallery that each image does not search (int64, N)."""
        itself_N = self.gallery_N.long()
        if self.group_N is None or not len(labels_N):
            return itself_N
        key_N = labels_N * (int(self.group_N.max()) + 2) + self.group_N
        sorted_M = key_N[self.gallery_N].sort().values
        of_group_N = torch.searchsorted(sorted_M, key_N, right=True) - torch.searchsorted(sorted_M, key_N)
        return torch.where(self.group_N == NO_GROUP, itself_N, of_group_N)

    def unmatched(self, labels_N: Tensor) -> Tensor:
        """Return the rows of the queries without a match in the gallery (int64)."""
        return (self.query_N & (self.matches(labels_N) == 0)).nonzero().squeeze(1)


class Ignored(NamedTuple):
    """The images of its own class that a query does not search, as numbers that are equal."""

    image_N: Tensor
    """int64: the number of each query image."""
    image_M: Tensor
    """int64: the number of each image of the gallery."""
    group_N: Tensor | None
    group_M: Tensor | None

    @classmethod
    def of(cls, roles: QueryGallery) -> "Ignored":
        """Return the ignored images of the queries and the gallery of a test, each in the order of the test."""
        query_Q, gallery_M = (each_N.nonzero().squeeze(1) for each_N in (roles.query_N, roles.gallery_N))
        if roles.group_N is None:
            return cls(query_Q, gallery_M, None, None)
        return cls(query_Q, gallery_M, roles.group_N[query_Q], roles.group_N[gallery_M])

    def mask(self, row_T: Tensor, own_TJ: Tensor) -> Tensor:
        """Return True for each image that its query does not search (bool, T×J).

        Args:
            row_T: the queries.
            own_TJ: for each of them, images of the gallery that have its class.
        """
        ignored_TJ = self.image_N[row_T, None] == self.image_M[own_TJ]
        if self.group_N is None or self.group_M is None:
            return ignored_TJ
        group_T1 = self.group_N[row_T, None]
        return ignored_TJ | ((group_T1 != NO_GROUP) & (group_T1 == self.group_M[own_TJ]))
