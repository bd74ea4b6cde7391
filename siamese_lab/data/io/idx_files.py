"""Read data sets in four IDX files, the format of MNIST (LeCun et al. 1998, doi:10.1109/5.726791).

An IDX file holds 2 zero bytes, the type (8 for uint8), the number of dimensions, each dimension as a big-endian int32,
and the values.
"""

import gzip
import hashlib
import struct
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from siamese_lab.data.datamodule import Splits
from siamese_lab.data.io.download import Remote
from siamese_lab.data.io.image_files import list_images
from siamese_lab.data.io.messages import bounded, faults, readable
from siamese_lab.data.io.sources import Sources
from siamese_lab.data.splits import ClassSplit, hold_out_images
from siamese_lab.data.tables.image_table import FORMAT, ImageTable, cached, check_stored
from siamese_lab.errors import ResourceError, UserError

PROTOCOLS = ("closed", "disjoint")
UINT8 = 8
SIDE = 28


class IdxFile(NamedTuple):
    """A file, with size and MD5 of the compressed download and of the decompressed content."""

    name: str
    compressed_md5: str
    content_md5: str
    compressed_bytes: int
    content_bytes: int


class IdxPart(NamedTuple):
    """The image file and the label file of one part, `train` or `test`."""

    images: IdxFile
    labels: IdxFile


class IdxSet(NamedTuple):
    """The facts that are needed to download and read one set of IDX files."""

    key: str
    """Prefix of the cache keys of the set."""
    folder: str
    """Folder of the set in torchvision's layout."""
    mirrors: tuple[str, ...]
    train: IdxPart
    test: IdxPart
    class_names: tuple[str, ...]


Part = Literal["train", "test"]
PARTS: tuple[Part, ...] = ("train", "test")


def check_protocol(protocol: str) -> str:
    """Return the protocol if its name is valid.

    Raises:
        UserError: if there is no protocol of that name.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"data.protocol must be one of {', '.join(PROTOCOLS)}, but is {protocol!r}.")
    return protocol


def classes_of_split(split: int, classes: int = 10) -> ClassSplit:
    """Return the training classes (kept) and the test classes (held) of the `disjoint` protocol.

    Args:
        split: 0 keeps the first half, 0–4. Any other number keeps the first half of a permutation that follows from
            the number by SHA-256, so that it is the same with every version of every library.
        classes: number of all classes.

    >>> classes_of_split(0), classes_of_split(1)
    (ClassSplit(kept=[0, 1, 2, 3, 4], held=[5, 6, 7, 8, 9]), ClassSplit(kept=[2, 3, 6, 7, 8], held=[0, 1, 4, 5, 9]))
    """
    order = list(range(classes))
    if split:
        order.sort(key=lambda label: hashlib.sha256(f"split {split}, class {label}".encode()).digest())
    half = classes // 2
    return ClassSplit(sorted(order[:half]), sorted(order[half:]))


def check_split(split: int, protocol: str) -> int:
    """Return the number of a class split if the protocol has it.

    Raises:
        UserError: if the number is negative, or not 0 for a protocol that splits no classes.
    """
    if split < 0:
        raise UserError(f"data.split must be 0 or more, but is {split}. 0 trains on the first five classes.")
    if split and protocol != "disjoint":
        raise UserError(
            f"data.split={split} chooses training classes, but data.protocol={protocol} trains on all. "
            "Set data.split=0, or data.protocol=disjoint."
        )
    return split


def load_splits(
    idx: IdxSet, sources: Sources, cache: Path, protocol: str, validation_fraction: float, split: int = 0
) -> Splits:
    """Split the images by a protocol, and hold out a fraction of the images of each training class for validation.

    `closed` trains and tests on all ten classes. `disjoint` trains on five classes of the training file and tests on
    the five unseen classes of the test file: see `classes_of_split`.
    """
    train, test = (load_part(idx, part, sources, cache) for part in PARTS)
    if protocol == "disjoint":
        trained, tested = classes_of_split(split, len(idx.class_names))
        train, test = train.classes(trained), test.classes(tested)
    return Splits(*hold_out_images(train, validation_fraction), test)


def load_part(idx: IdxSet, part: Part, sources: Sources, cache: Path) -> ImageTable:
    """Load all images of the training file or of the test file.

    Raises:
        UserError: if a file is missing, or differs from the official file.
    """
    images, labels = (_locate(idx, file, sources) for file in getattr(idx, part))

    def decode() -> ImageTable:
        pixels_NHW = parse_idx(images, getattr(idx, part).images)
        labels_N = parse_idx(labels, getattr(idx, part).labels)
        return ImageTable(torch.from_numpy(pixels_NHW)[:, None], torch.from_numpy(labels_N).long(), idx.class_names)

    return cached(cache, _key(idx, part, images, labels), decode)


def provenance(idx: IdxSet, sources: Sources, cache: Path) -> dict[str, str]:
    """Return the location of the four files and of the cache."""
    paths = [_locate(idx, file, sources) for part in PARTS for file in getattr(idx, part)]
    return {
        "files": ", ".join(path.name for path in paths),
        "from": sources.origin(paths[0]),
        "cache": str(cache),
    }


def absent(idx: IdxSet, sources: Sources) -> list[str]:
    """Return one sentence for each file that has no local copy."""
    names = [file.name for part in PARTS for file in getattr(idx, part)]
    return [sources.absent(f"{name}.gz") for name in names if sources.find(name, f"{name}.gz") is None]


def problems(idx: IdxSet, sources: Sources, cache: Path) -> list[str]:
    """Return the faults of the files and of their cached tables."""
    found = []
    for part in PARTS:
        found += faults(partial(_problems_of_part, idx, part, sources, cache))
    return found


def _problems_of_part(idx: IdxSet, part: Part, sources: Sources, cache: Path) -> list[str]:
    found, paths = [], []
    for file in getattr(idx, part):
        path = sources.find(file.name, f"{file.name}.gz")
        if path is None:
            found.append(sources.absent(f"{file.name}.gz"))
            continue
        paths.append(path)
        try:
            parse_idx(path, file)
        except UserError as error:
            found.append(str(error))
    if len(paths) == len(IdxPart._fields):
        found += faults(lambda: check_stored(cache / _key(idx, part, *paths)))
    return found


def parse_idx(path: Path, file: IdxFile) -> NDArray[np.uint8]:
    """Return the values of an IDX file, compressed or not.

    Raises:
        UserError: if the file cannot be read, or differs from the official file.
    """
    with readable(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        content = bounded(path, stream, file.content_bytes)
    came = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if came != file.content_md5:
        raise ResourceError(
            f"{path} should hold the official {file.name} (MD5 {file.content_md5} when decompressed), but holds "
            f"something else ({came}). Replace it, or remove it so that it is downloaded."
        )
    _, kind, dimensions = struct.unpack_from(">HBB", content)
    assert kind == UINT8, "the MD5 belongs to a uint8 file"
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()


def _locate(idx: IdxSet, file: IdxFile, sources: Sources) -> Path:
    name = f"{file.name}.gz"
    mirrors = tuple(f"{mirror}{name}" for mirror in idx.mirrors)
    remote = Remote(name, mirrors, f"md5:{file.compressed_md5}", file.compressed_bytes)
    return sources.find_or_download(remote, file.name)


def _key(idx: IdxSet, part: Part, images: Path, labels: Path) -> str:
    return f"{idx.key}-{part}-{list_images(images).key}-{list_images(labels).key}-v{FORMAT}"
