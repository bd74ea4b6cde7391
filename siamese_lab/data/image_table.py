"""A data set as one uint8 tensor, so that a batch is one gather; decoded once, then memory-mapped from a cache.

Shapes: N images, C channels, H × W pixels.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import torch
from torch import Tensor

FORMAT = 1
"""Part of every cache key: count up when what is stored changes."""


@dataclass(frozen=True)
class ImageTable:
    """All images of a data set or of a part of it.

    Raises:
        ValueError: if the three parts do not fit together.
    """

    images_NCHW: Tensor
    """uint8, 0…255."""
    labels_N: Tensor
    """int64, indices into `class_names`."""
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        images, labels = self.images_NCHW, self.labels_N
        if images.ndim != 4 or images.dtype != torch.uint8 or labels.shape != images.shape[:1]:
            raise ValueError(
                "An image table expects uint8 images (N, C, H, W) and labels (N,), but got "
                f"{images.dtype} {tuple(images.shape)} and {tuple(labels.shape)}."
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.class_names):
            raise ValueError(
                f"Labels must be indices of the {len(self.class_names)} class names, "
                f"but run from {int(labels.min())} to {int(labels.max())}."
            )

    def __len__(self) -> int:
        return len(self.labels_N)

    def rows(self, index_M: Tensor) -> "ImageTable":
        """Some of the images, with all the class names."""
        return ImageTable(self.images_NCHW[index_M], self.labels_N[index_M], self.class_names)

    def classes(self, keep: Sequence[int]) -> "ImageTable":
        """Only the images of the classes `keep`, whose labels become 0, 1, … in that order."""
        renumbered = torch.full((len(self.class_names),), -1)
        renumbered[list(keep)] = torch.arange(len(keep))
        labels_N = renumbered[self.labels_N]
        index_M = (labels_N >= 0).nonzero().squeeze(1)
        return ImageTable(self.images_NCHW[index_M], labels_N[index_M], tuple(self.class_names[i] for i in keep))

    def with_rotations(self) -> "ImageTable":
        """Four times the classes: each one turned by 0°, 90°, 180° and 270° (Santoro et al. 2016, §4.1)."""
        turns = range(4)
        return ImageTable(
            torch.cat([self.images_NCHW.rot90(turn, (2, 3)) for turn in turns]),
            torch.cat([self.labels_N + turn * len(self.class_names) for turn in turns]),
            tuple(f"{name} ({90 * turn}°)" for turn in turns for name in self.class_names),
        )


def default_cache() -> Path:
    """Where decoded tables are kept unless the user says otherwise."""
    return Path(platformdirs.user_cache_dir("siamese_lab"))


def cached(folder: Path, key: str, decode: Callable[[], ImageTable]) -> ImageTable:
    """The table stored under `key`, or what `decode` makes, stored for the next time.

    The images of a stored table are memory-mapped, so that the processes of a sweep share them.
    """
    place = folder / key
    if not place.exists():
        _store(decode(), place)
    images = np.load(place / "images.npy", mmap_mode="c")
    labels = np.load(place / "labels.npy")
    names = json.loads((place / "classes.json").read_text(encoding="utf-8"))
    return ImageTable(torch.from_numpy(images), torch.from_numpy(labels), tuple(names))


def _store(table: ImageTable, place: Path) -> None:
    """Write beside the place, then rename, so that no other process ever sees half a table."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
    try:
        np.save(draft / "images.npy", table.images_NCHW.numpy())
        np.save(draft / "labels.npy", table.labels_N.numpy())
        (draft / "classes.json").write_text(json.dumps(table.class_names), encoding="utf-8")
        draft.chmod(0o755)
        draft.rename(place)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not place.exists():  # otherwise another process was first, and what it stored is the same
            raise
