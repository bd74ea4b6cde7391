"""Images that stay in their files until they are asked for, for sets that do not fit into memory.

Shapes: N images, B of them at a time, C channels, H × W pixels.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from siamese_lab.data.io.decode import Convert, pixels
from siamese_lab.data.tables.base import Tag
from siamese_lab.errors import ResourceError, UserError

ADVICE = "Or set data.skip_unreadable=true to leave out such images."


@dataclass(frozen=True)
class FilesTable:
    """Labelled images that worker processes decode, some batches ahead."""

    path: Path
    """The folder that the names start from."""
    names: tuple[str, ...]
    labels_N: Tensor
    """int64, indices into `class_names`."""
    class_names: tuple[str, ...]
    convert: Convert = field(repr=False)
    workers: int

    def __len__(self) -> int:
        return len(self.labels_N)

    def rows(self, index_M: Tensor) -> "FilesTable":
        """Some of the images, with all the class names."""
        names = tuple(self.names[row] for row in index_M.tolist())
        return FilesTable(self.path, names, self.labels_N[index_M], self.class_names, self.convert, self.workers)

    def classes(self, keep: Sequence[int]) -> "FilesTable":
        """Only the images of the classes `keep`, whose labels become 0, 1, … in that order."""
        renumbered = torch.full((len(self.class_names),), -1)
        renumbered[list(keep)] = torch.arange(len(keep))
        labels_N = renumbered[self.labels_N]
        kept = self.rows((labels_N >= 0).nonzero().squeeze(1))
        class_names = tuple(self.class_names[label] for label in keep)
        return FilesTable(self.path, kept.names, renumbered[kept.labels_N], class_names, self.convert, self.workers)

    def fetch(self, indices: Iterable[tuple[Tag, Tensor]]) -> Iterator[tuple[Tag, Tensor]]:
        """The images at each of the indices, with the tag that these came with; see `BaseTable`.

        Raises:
            UserError: for an image that cannot be read, with its name.
        """
        tags: deque[Tag] = deque()

        def rows() -> Iterator[list[int]]:
            for tag, index_B in indices:
                tags.append(tag)
                yield index_B.tolist()

        loader: DataLoader[Tensor | str] = DataLoader(
            _Decoded(self),
            batch_size=None,
            sampler=rows(),
            num_workers=self.workers,
            generator=torch.Generator(),  # of its own, so that the global one is left alone
        )
        for images_BCHW in loader:
            if isinstance(images_BCHW, str):
                raise ResourceError(f"{images_BCHW} {ADVICE}")
            yield tags.popleft(), images_BCHW


class _Decoded(Dataset[Tensor | str]):
    """A batch for a list of rows; a message where one cannot be read, as errors of other processes are tracebacks."""

    def __init__(self, table: FilesTable) -> None:
        self.table = table

    def __getitem__(self, rows: list[int]) -> Tensor | str:
        table = self.table
        try:
            read = [self._pixels(table.names[row]) for row in rows]
        except UserError as error:
            return str(error)
        return torch.from_numpy(np.ascontiguousarray(np.stack(read).transpose(0, 3, 1, 2)))

    def _pixels(self, name: str) -> np.ndarray:
        path = self.table.path / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ResourceError(f"{path} cannot be read any more ({error.strerror}).") from error
        return pixels(self.table.path, name, content, self.table.convert)
