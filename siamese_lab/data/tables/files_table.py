"""A table of image files that are decoded on request, for sets that do not fit into memory.

Shapes: N images, B of them at a time, C channels, H × W pixels.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from siamese_lab.data.convert.center import CenterConverter
from siamese_lab.data.io.crops import Crops
from siamese_lab.data.io.decode import Convert, converter_of, pixels
from siamese_lab.data.io.image_files import read_image_file
from siamese_lab.data.tables.base import Tag, select_classes
from siamese_lab.errors import ResourceError, UserError

ADVICE = "Or set data.skip_unreadable=true to skip such images."
FEWER = "Set data.workers=0 to decode in the main process, or to a smaller number."


@dataclass(frozen=True)
class FilesTable:
    """Labeled images that worker processes decode a few batches ahead."""

    path: Path
    """The folder that holds the files; `names` are relative to it."""
    names: tuple[str, ...]
    labels_N: Tensor
    """Class of each image: indices into `class_names` (int64)."""
    class_names: tuple[str, ...]
    convert: Convert = field(repr=False)
    workers: int
    crops: Crops | None = field(default=None, repr=False)
    """The part of each image to use; None uses whole images."""
    advice: str = field(default=ADVICE, repr=False)
    """Ends the message about an image that cannot be read."""

    def __len__(self) -> int:
        return len(self.labels_N)

    def rows(self, index_M: Tensor) -> "FilesTable":
        """Return a table of some of the images, with all class names."""
        rows = index_M.tolist()
        names = tuple(self.names[row] for row in rows)
        crops = None if self.crops is None else self.crops.rows(rows)
        return replace(self, names=names, labels_N=self.labels_N[index_M], crops=crops)

    def classes(self, keep: Sequence[int]) -> "FilesTable":
        """Return a table with the classes `keep` only. Their labels become 0, 1, … in that order."""
        index_M, labels_M, class_names = select_classes(self, keep)
        return replace(self.rows(index_M), labels_N=labels_M, class_names=class_names)

    def centered(self, size: int) -> "FilesTable":
        """Return a table of the middle of each image, `size` high and wide."""
        return replace(self, convert=CenterConverter(self.convert, size))

    def fetch(self, indices: Iterable[tuple[Tag, Tensor]]) -> Iterator[tuple[Tag, Tensor]]:
        """Yield the images for each tensor of indices, together with its tag; see `BaseTable`.

        Raises:
            UserError: if an image cannot be read, which the message names, or if the processes cannot hand over images.
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
            generator=torch.Generator(),  # DataLoader would otherwise draw from the global generator
        )
        batches = iter(loader)
        while (images_BCHW := _next(batches)) is not None:
            if isinstance(images_BCHW, str):
                raise ResourceError(images_BCHW)
            yield tags.popleft(), images_BCHW


def _next(batches: Iterator[Tensor | str]) -> Tensor | str | None:
    """Return the next batch, or a message; None at the end."""
    try:
        return next(batches, None)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        return f"A process that decodes images has died, for lack of memory or killed by a user ({error}). {FEWER}"


def _shared(images_BCHW: Tensor) -> Tensor | str:
    """Move a batch to shared memory, through which it reaches the main process, or return a message.

    The loader itself would do so in a thread that only prints an error, and the main process would wait without end.
    """
    try:
        return images_BCHW.share_memory_()
    except RuntimeError as error:
        if "shared memory" not in str(error):
            raise
        return (
            f"There is not enough shared memory (/dev/shm) for the processes that decode images ({error}). {FEWER} "
            "In Docker, --shm-size=2g gives more."
        )


class _Decoded(Dataset[Tensor | str]):
    """Returns a batch for a list of rows, or a message if an image cannot be read.

    An exception raised in a worker process would reach the user as a traceback.
    """

    def __init__(self, table: FilesTable) -> None:
        self.table = table

    def __getitem__(self, rows: list[int]) -> Tensor | str:
        try:
            read = [self._pixels(row) for row in rows]
        except UserError as error:
            return f"{error} {self.table.advice}".rstrip()
        images_BCHW = torch.from_numpy(np.ascontiguousarray(np.stack(read).transpose(0, 3, 1, 2)))
        return images_BCHW if get_worker_info() is None else _shared(images_BCHW)

    def _pixels(self, row: int) -> np.ndarray:
        table, name = self.table, self.table.names[row]
        content = read_image_file(table.path / name)
        return pixels(table.path, name, content, converter_of(row, table.convert, table.crops))
