"""A data set as one uint8 tensor, decoded once and then memory-mapped from a cache. A batch is one gather.

Shapes: N images, S stored images, C channels, H × W pixels.
"""

import hashlib
import json
import math
import os
import shutil
import stat
import tokenize
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs
import pooch
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from siamese_lab.data.convert.center import center_crop
from siamese_lab.data.io.cache_folder import one_at_a_time
from siamese_lab.data.io.messages import announce, read_file, writing_to
from siamese_lab.data.tables.base import Tag, select_classes
from siamese_lab.errors import ResourceError, UserError
from siamese_lab.runs.files import flush_to_disk

IMAGES, LABELS, MANIFEST = "images.npy", "labels.npy", "table.json"
FORMAT = 3
"""Part of every cache key. Increase it when the stored content changes."""
LARGEST_MANIFEST = 64 << 20
"""Largest size of a manifest that is read, in bytes; enough for a million class names."""
DAMAGES = (
    UserError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
    SyntaxError,
    EOFError,
    tokenize.TokenError,
)
"""Exceptions that json and NumPy raise at files that siamese_lab did not write."""


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
        index_M, labels_M, class_names = select_classes(self, keep)
        return ImageTable(self.stored_SCHW, labels_M, class_names, self._stored_rows(index_M))

    def fetch(self, indices: Iterable[tuple[Tag, Tensor]]) -> Iterator[tuple[Tag, Tensor]]:
        """Yield the images for each tensor of indices, together with its tag; see `BaseTable`."""
        return ((tag, self.stored_SCHW.index_select(0, self._stored_rows(index_B))) for tag, index_B in indices)

    def centered(self, size: int) -> "ImageTable":
        """Return a table of the middle of each image, `size` high and wide. It shares the pixels of this table."""
        return replace(self, stored_SCHW=center_crop(self.stored_SCHW, size))

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
    if not os.path.lexists(path):
        return []
    try:
        _, manifest = _open(path)
        if _sha256(path / IMAGES) != manifest.sha256[IMAGES]:
            raise DamagedError(f"the SHA-256 of {IMAGES} differs from the manifest")
    except (DamagedError, OSError) as damage:
        return [f"{path}: {damage}. Delete it; it will be decoded again."]
    return []


def _stored(path: Path) -> ImageTable | None:
    """Return the table stored at a path, or None if it is missing or incomplete."""
    try:
        return _open(path)[0]
    except DamagedError:
        return None


class _Manifest(NamedTuple):
    """The content of `table.json`, without its checksum."""

    format: int
    key: str
    class_names: list[str]
    shape_NCHW: list[int]
    bytes: dict[str, int]
    sha256: dict[str, str]

    @property
    def checksum(self) -> str:
        """A hash of the other entries, which shows damages of the manifest itself."""
        return hashlib.sha256(json.dumps(self._asdict(), sort_keys=True).encode()).hexdigest()


def _open(path: Path) -> tuple[ImageTable, _Manifest]:
    """Open a stored table, and check all but the pixels. The headers of its arrays must agree with the manifest.

    Raises:
        DamagedError: if the table is missing, damaged, or was not written by siamese_lab.
    """
    manifest = _read_manifest(path)
    try:
        if _sha256(path / LABELS) != manifest.sha256[LABELS]:
            raise DamagedError(f"the SHA-256 of {LABELS} differs from the manifest")
        images_NCHW = _open_array(path / IMAGES, np.uint8, manifest.shape_NCHW, mode="c")
        labels_N = np.array(_open_array(path / LABELS, np.int64, manifest.shape_NCHW[:1], mode="r"))
        names = tuple(manifest.class_names)
        return ImageTable(torch.from_numpy(images_NCHW), torch.from_numpy(labels_N), names), manifest
    except DAMAGES as error:
        raise DamagedError(f"its arrays are not those of its manifest ({error})") from error


def _open_array(file: Path, dtype: DTypeLike, shape: list[int], mode: Any) -> NDArray[Any]:
    """Memory-map an array. No object in it is unpickled.

    Raises:
        DamagedError: if the array has another type, shape or order than expected.
    """
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(file, mode=mode)
    whole = file.stat().st_size == array.offset + array.nbytes
    if array.dtype != dtype or list(array.shape) != shape or not array.flags.c_contiguous or not whole:
        raise DamagedError(f"the header of {file.name} differs from the manifest")
    return array


def _read_manifest(path: Path) -> _Manifest:
    """Read the manifest of a stored table.

    Raises:
        DamagedError: if the manifest is missing or does not match the files in its folder.
    """
    try:
        entries = json.loads(read_file(path / MANIFEST, LARGEST_MANIFEST))
        checksum = entries.pop("checksum")
        manifest = _Manifest(**entries)
        _check_types(manifest)
        states = {name: (path / name).stat() for name in manifest.bytes}
    except DAMAGES as error:
        raise DamagedError(f"{MANIFEST} is missing or was not written by siamese_lab ({error})") from error
    if (manifest.format, manifest.key) != (FORMAT, path.name):
        raise DamagedError(f"{MANIFEST} belongs to another table")
    if checksum != manifest.checksum:
        raise DamagedError(f"the checksum of {MANIFEST} is wrong")
    for name, state in states.items():
        if not stat.S_ISREG(state.st_mode) or state.st_size != manifest.bytes[name]:
            raise DamagedError("file sizes differ from the manifest")
    return manifest


def _check_types(manifest: _Manifest) -> None:
    """Raise TypeError unless every entry of a manifest has the type that `_store` writes."""
    if not (
        isinstance(manifest.class_names, list)
        and all(isinstance(name, str) for name in manifest.class_names)
        and isinstance(manifest.shape_NCHW, list)
        and len(manifest.shape_NCHW) == 4
        and all(type(size) is int and 0 <= size < 1 << 40 for size in manifest.shape_NCHW)
        and set(manifest.bytes) == set(manifest.sha256) == {IMAGES, LABELS}
        and math.prod(manifest.shape_NCHW) <= manifest.bytes[IMAGES]
    ):
        raise TypeError("an entry has another type than expected")


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
        manifest = _Manifest(
            format=FORMAT,
            key=path.name,
            class_names=list(table.class_names),
            shape_NCHW=list(table.images_NCHW.shape),
            bytes={name: (draft / name).stat().st_size for name in (IMAGES, LABELS)},
            sha256={name: _sha256(draft / name) for name in (IMAGES, LABELS)},
        )
        entries = manifest._asdict() | {"checksum": manifest.checksum}
        (draft / MANIFEST).write_text(json.dumps(entries), encoding="utf-8")
        for file in draft.iterdir():
            flush_to_disk(file)
        _remove(path)
        draft.rename(path)
        flush_to_disk(path.parent)
    finally:
        _remove(draft)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sha256(file: Path) -> str:
    return str(pooch.file_hash(str(file), alg="sha256"))
