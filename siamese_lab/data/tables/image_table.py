"""A data set as one uint8 tensor, decoded once and then memory-mapped from a cache. A batch is one gather.

Shapes: N images, S stored images, C channels, H × W pixels.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pooch
import torch
from torch import Tensor

from siamese_lab.data.io.cache_folder import one_at_a_time
from siamese_lab.data.io.messages import announce, writing_to
from siamese_lab.data.tables.base import Tag
from siamese_lab.errors import ResourceError

IMAGES, LABELS, MANIFEST = "images.npy", "labels.npy", "table.json"
FORMAT = 2
"""Part of every cache key. Increase it when the stored content changes."""


@dataclass(frozen=True)
class ImageTable:
    """All images of a data set or of one split.

    The tables that `rows` and `classes` return share the pixels of the table that they come from, so a split of a
    memory-mapped data set copies no images.

    Raises:
        ValueError: if shapes, types or labels of the fields do not match.
    """

    stored_SCHW: Tensor
    """Pixels of all stored images, 0…255 (uint8)."""
    labels_N: Tensor
    """Class of each image: indices into `class_names` (int64)."""
    class_names: tuple[str, ...]
    row_N: Tensor | None = None
    """Row of `stored_SCHW` for each image (int64); None if the table has all stored images in their order."""

    def __post_init__(self) -> None:
        stored, labels = self.stored_SCHW, self.labels_N
        count = stored.shape[:1] if self.row_N is None else self.row_N.shape
        if stored.ndim != 4 or stored.dtype != torch.uint8 or labels.shape != count:
            raise ValueError(
                "An image table expects uint8 images (N, C, H, W) and labels (N,), but got "
                f"{stored.dtype} {(*count, *stored.shape[1:])} and {tuple(labels.shape)}."
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.class_names):
            raise ValueError(
                f"Labels must be indices of the {len(self.class_names)} class names, "
                f"but run from {int(labels.min())} to {int(labels.max())}."
            )

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def images_NCHW(self) -> Tensor:
        """Pixels, 0…255 (uint8). A table of some of the stored images copies them at each access."""
        return self.stored_SCHW if self.row_N is None else self.stored_SCHW.index_select(0, self.row_N)

    def rows(self, index_M: Tensor) -> "ImageTable":
        """Return a table of some of the images, with all class names."""
        return ImageTable(self.stored_SCHW, self.labels_N[index_M], self.class_names, self._stored_rows(index_M))

    def _stored_rows(self, index_M: Tensor) -> Tensor:
        """Translate rows of this table into rows of the stored images."""
        return index_M if self.row_N is None else self.row_N[index_M]

    def classes(self, keep: Sequence[int]) -> "ImageTable":
        """Return a table with the classes `keep` only. Their labels become 0, 1, … in that order."""
        renumbered = torch.full((len(self.class_names),), -1)
        renumbered[list(keep)] = torch.arange(len(keep))
        labels_N = renumbered[self.labels_N]
        index_M = (labels_N >= 0).nonzero().squeeze(1)
        class_names = tuple(self.class_names[label] for label in keep)
        return ImageTable(self.stored_SCHW, labels_N[index_M], class_names, self._stored_rows(index_M))

    def fetch(self, indices: Iterable[tuple[Tag, Tensor]]) -> Iterator[tuple[Tag, Tensor]]:
        """Yield the images for each tensor of indices, together with its tag; see `BaseTable`."""
        return ((tag, self.stored_SCHW.index_select(0, self._stored_rows(index_B))) for tag, index_B in indices)

    def with_rotations(self) -> "ImageTable":
        """Return a table with every class rotated by 0°, 90°, 180° and 270° (Santoro et al. 2016, §4.1)."""
        turns, images_NCHW = range(4), self.images_NCHW
        return ImageTable(
            torch.cat([images_NCHW.rot90(turn, (2, 3)) for turn in turns]),
            torch.cat([self.labels_N + turn * len(self.class_names) for turn in turns]),
            tuple(f"{name} ({90 * turn}°)" for turn in turns for name in self.class_names),
        )


def default_cache() -> Path:
    """Return the default folder for decoded tables."""
    return Path(platformdirs.user_cache_dir("siamese_lab"))


def cached(folder: Path, key: str, decode: Callable[[], ImageTable]) -> ImageTable:
    """Return the table stored under `key`. If there is none, call `decode` and store its table.

    The images of a stored table are memory-mapped, so that the processes of a sweep share them. If several processes
    need the table, one decodes it and the others wait. An incomplete or foreign table is replaced.

    Raises:
        UserError: if `folder` is not writable.
    """
    path = folder / key
    table = _stored(path)
    if table is None:
        with one_at_a_time(path, "decoding"):
            table = _stored(path)
            if table is None:
                if os.path.lexists(path):
                    announce(f"{path} is not a complete table of siamese_lab: decoding it again.")
                made = decode()
                with writing_to(folder):
                    _store(made, path)
                table = _stored(path)
                if table is None:
                    raise ResourceError(
                        f"{path} was written but cannot be read back. Check that disk, or set paths.cache to a folder "
                        "on another disk."
                    )
    return table


class DamagedError(Exception):
    """Raised if a stored table is damaged. The message describes the damage."""


def check_stored(path: Path) -> list[str]:
    """Read every byte of a stored table and return its faults. Return [] if it is intact or does not exist."""
    if not path.exists():
        return []
    try:
        manifest = _read_manifest(path)
        for name, digest in manifest["sha256"].items():
            if _sha256(path / name) != digest:
                raise DamagedError(f"the SHA-256 of {name} differs from the manifest")
    except DamagedError as damage:
        return [f"{path}: {damage}. Delete it; it will be decoded again."]
    return []


def _stored(path: Path) -> ImageTable | None:
    """Return the table stored at a path, or None if it is missing or incomplete."""
    try:
        manifest = _read_manifest(path)
        if _sha256(path / LABELS) != manifest["sha256"][LABELS]:
            return None
        images = np.load(path / IMAGES, mmap_mode="c")
        labels = np.load(path / LABELS)
        return ImageTable(torch.from_numpy(images), torch.from_numpy(labels), tuple(manifest["class_names"]))
    except (DamagedError, OSError, ValueError):
        return None


def _read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a stored table.

    Raises:
        DamagedError: if the manifest is missing or does not match the files in its folder.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        stored = manifest["format"], manifest["key"], set(manifest["sha256"]), set(manifest["bytes"])
        whole = all((path / name).stat().st_size == size for name, size in manifest["bytes"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{MANIFEST} is missing or was not written by siamese_lab ({error})") from error
    if stored != (FORMAT, path.name, {IMAGES, LABELS}, {IMAGES, LABELS}):
        raise DamagedError(f"{MANIFEST} belongs to another table")
    if not whole:
        raise DamagedError("file sizes differ from the manifest")
    assert isinstance(manifest, dict)
    return manifest


def _store(table: ImageTable, path: Path) -> None:
    """Write to a draft folder, flush it to disk, then rename it, so that no process ever sees an incomplete table.

    Only one process at a time may call this. A draft that a killed process left behind is removed.
    """
    draft = path.with_name(f"{path.name}.draft")
    _remove(draft)
    try:
        draft.mkdir()
        np.save(draft / IMAGES, table.images_NCHW.numpy())
        np.save(draft / LABELS, table.labels_N.numpy())
        manifest = {
            "format": FORMAT,
            "key": path.name,
            "class_names": table.class_names,
            "bytes": {name: (draft / name).stat().st_size for name in (IMAGES, LABELS)},
            "sha256": {name: _sha256(draft / name) for name in (IMAGES, LABELS)},
        }
        (draft / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        for file in draft.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        _remove(path)
        draft.rename(path)
    finally:
        _remove(draft)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sha256(file: Path) -> str:
    return str(pooch.file_hash(str(file), alg="sha256"))
