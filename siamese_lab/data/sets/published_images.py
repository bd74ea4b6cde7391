"""The data module of a published image set: a fixed split of classes, lists of images, counts that must agree.

The test classes are never training classes, as in papers on metric learning. Validation holds out training classes.

Shapes: N images of the set.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from siamese_lab.data.convert.common import Converted
from siamese_lab.data.convert.photo import PhotoConverter
from siamese_lab.data.datamodule import DataModule, QueryGalleryParts, Splits
from siamese_lab.data.io.file_names import escape_name, lies_below
from siamese_lab.data.io.folder_walk import FoundFile
from siamese_lab.data.io.image_files import ImageFiles
from siamese_lab.data.io.messages import faults, read_file
from siamese_lab.data.io.packaging import Copy, Packaging, PublishedFiles
from siamese_lab.data.io.sources import Sources
from siamese_lab.data.sets.listed_images import TEST, TRAIN, DividedImages, Division, ListedImages, described_roles
from siamese_lab.data.sets.own_images import ClassFractions, Labels, OwnImages
from siamese_lab.data.sets.table_rows import found_file, listed_files
from siamese_lab.data.splits import checked_ratio
from siamese_lab.data.tables.image_table import default_cache
from siamese_lab.errors import ResourceError
from siamese_lab.query_gallery import NO_GROUP, QueryGallery

SPLIT_SEED = 0
"""Seed of the held-out training classes. It is no option, so that all runs hold out the same classes."""
LARGEST_LIST = 100_000_000
"""Largest size of a list in bytes. The longest one, of Stanford Online Products, has 5 MB."""


class Count(NamedTuple):
    """A published number of images and of their classes."""

    images: int
    classes: int | None = None
    """None if it is not stated, because some images belong to no class."""


class Row(NamedTuple):
    """One image of a published set."""

    name: str
    """Path relative to the folder that contains all images."""
    label: str
    part: str
    """`train`, `test`, or the role of a test image: `query` or `gallery`."""
    group: int = NO_GROUP
    """The camera, where images of the query's own class and camera are not searched."""
    category: str = ""
    """The category of the class, if the set has categories."""


class Listing(NamedTuple):
    """The images of a set, in the order of its lists."""

    root: Path
    """The folder that contains all images."""
    rows: tuple[Row, ...]

    def of_part(self, part: str) -> list[Row]:
        """Return the images of a part."""
        return [row for row in self.rows if row.part == part]


class PublishedImages(DataModule):
    """Reads a published set of images from files. A subclass states its layout and its counts, and reads its lists.

    Args:
        root: folder that may contain the set. It is only read.
        cache: folder for downloads, unpacked archives and decoded images; None is the user's cache folder.
        image_size: see `OwnImages`.
        color: True for RGB, False for gray.
        validation_fraction: fraction of the training classes that validates: classes of at least two images, drawn
            with a fixed seed.
        in_memory: see `OwnImages`.
        memory_limit: see `OwnImages`.
        workers: see `OwnImages`.
        **common: see `DataModule`.
    """

    place: ClassVar[str]
    """Folder that holds the set, relative to `root`; "" for `root` itself."""
    packagings: ClassVar[tuple[Packaging, ...]]
    digests: ClassVar[Mapping[str, str]]
    """Published checksums of archives and lists, by name."""
    counts: ClassVar[Mapping[str, Count]]
    """Published numbers of images and classes by part. A copy with other numbers is refused."""
    resizes_photographs = True
    converter: ClassVar[type[PhotoConverter]] = PhotoConverter
    """Converts the images of the set, and any other image that its networks embed."""

    def __init__(
        self,
        root: str | Path | None = None,
        cache: str | Path | None = None,
        image_size: int = 224,
        color: bool = True,
        validation_fraction: float = 0.1,
        in_memory: bool | str = "auto",
        memory_limit: float = 4000,
        workers: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        checked_ratio(validation_fraction)
        self.own = OwnImages(
            cache, image_size, color, in_memory, memory_limit, workers, self.stored_size, self.converter, advice=""
        )
        self.cache = Path(cache) if cache is not None else default_cache()
        self.files = PublishedFiles(
            self.title, Sources(self.place, root, self.cache), self.packagings, self.digests, self.cache
        )
        self.image_size = image_size
        self.channels = self.own.channels
        self.validation_fraction = validation_fraction

    @abstractmethod
    def list_images(self, copy: Copy) -> Iterable[Row]:
        """Yield the images of a copy in the order of its lists.

        Raises:
            UserError: if a list is missing or malformed.
        """

    def load(self) -> Splits:
        """Decode all images, or load them from the cache, or leave them in their files. Then divide the classes."""
        listing = self._checked
        files, missing = found_files(listing)
        if missing:
            raise ResourceError(missing[0])
        unlabeled = Labels(torch.zeros(len(listing.rows), dtype=torch.int64), ("image",))
        table: Any = self.own.table(files, unlabeled, self._key(files))
        labels = self._labels
        return self._divided.splits(replace(table, labels_N=labels.labels_N, class_names=labels.class_names))

    def converted(self, image: Image.Image) -> Converted:
        """Convert an image as the set's own images are converted, to the size of the network's input."""
        return self.converter(self.image_size, self.channels == 3, self.stored_size).converted(image)

    @cached_property
    def query_gallery(self) -> QueryGalleryParts | None:
        """The roles of the images of validation and test, if the set publishes queries and a gallery."""
        return self._divided.roles

    @cached_property
    def categories(self) -> Tensor | None:
        """The category of each training class, numbered in alphabetical order; None if the set has no categories."""
        category_of = {row.label: row.category for row in self._checked.rows if row.category}
        if not category_of:
            return None
        number = {category: index for index, category in enumerate(sorted(set(category_of.values())))}
        return torch.tensor([number[category_of[name]] for name in self.splits.train.class_names])

    @cached_property
    def _listing(self) -> Listing:
        copy = self.files.copy()
        rows = (row._replace(label=escape_name(row.label)) for row in self.list_images(copy))
        return Listing(copy.root, tuple(rows))

    @cached_property
    def _checked(self) -> Listing:
        """The listing, with the published counts and classes.

        Raises:
            ResourceError: if its counts or classes differ from the published ones.
        """
        if found := [*faults_of_counts(self.title, self._listing, self.counts), *faults_of_parts(self._listing)]:
            raise ResourceError(found[0])
        return self._listing

    @cached_property
    def _labels(self) -> Labels:
        return Labels.of([row.label for row in self._checked.rows])

    @cached_property
    def _divided(self) -> DividedImages:
        rows = self._checked.rows
        part_N = torch.tensor([TRAIN if row.part == "train" else TEST for row in rows])
        images = ListedImages(self._checked.root, self._labels, lambda row: rows[row].name, part_N, roles_of(rows))
        return Division(ClassFractions(self.validation_fraction, 0, SPLIT_SEED)).divide(images)

    def provenance(self) -> dict[str, str]:
        """Return the location of the images, the cache or the number of decoding processes, and the roles."""
        listing = self._listing
        found = {"from": str(listing.root)} | self.own.provenance(len(listing.rows))
        return found if self.query_gallery is None else found | described_roles(self.query_gallery, self.splits)

    def absent(self) -> list[str]:
        """Return one sentence if there is no complete copy."""
        self.files.check_root()
        return faults(lambda: [] if self.files.find() is not None else [self.files.absent()])

    def left_out_of_all(self) -> bool:
        """Return whether there is no part of a copy. A copy with faults is not left out, so that they are reported."""
        return faults(self.absent) == [self.files.absent()]

    def verify(self) -> list[str]:
        """Check the lists, the counts and the classes, and read every image and the cached images.

        An archive that was not unpacked yet is only compared with its published checksum, if it has one.
        """
        return faults(self._check)

    def _check(self) -> list[str]:
        copy = self.files.find()
        if copy is None:
            return [self.files.absent()]
        found = self.files.faults_of_lists(copy)
        if (of_packed := self.files.faults_of_packed(copy)) is not None:
            return found + of_packed
        return found + faults(self._check_images)

    def _check_images(self) -> list[str]:
        listing = self._listing
        files, missing = found_files(listing)
        return [
            *faults_of_counts(self.title, listing, self.counts),
            *faults_of_parts(listing),
            *missing,
            *faults(lambda: self.own.verify(files, self._key(files))),
        ]

    def _key(self, files: ImageFiles) -> str:
        return self.own.key(type(self).__name__.lower(), files.key)


def roles_of(rows: Sequence[Row]) -> QueryGallery | None:
    """Return the roles of the images; None if no image has a role. Training images are neither queries nor searched."""
    parts = [row.part for row in rows]
    if "query" not in parts and "gallery" not in parts:
        return None
    group_N = torch.tensor([row.group for row in rows])
    return QueryGallery(
        torch.tensor([part == "query" for part in parts]),
        torch.tensor([part == "gallery" for part in parts]),
        None if (group_N == NO_GROUP).all() else group_N,
    )


def faults_of_counts(title: str, listing: Listing, counts: Mapping[str, Count]) -> list[str]:
    """Return one sentence for each part with another number of images or classes than published."""
    found = []
    for part, count in counts.items():
        rows = listing.of_part(part)
        images, classes = len(rows), len({row.label for row in rows})
        if images != count.images or (count.classes is not None and classes != count.classes):
            found.append(
                f"{title} in {listing.root} has {images:,} {part} images of {classes:,} classes, but "
                f"{count.images:,} images{f' of {count.classes:,} classes' if count.classes else ''} are published. It "
                "is incomplete or another version: replace it with the original."
            )
    return found


def faults_of_parts(listing: Listing) -> list[str]:
    """Return one sentence if classes are in training and test, and one if images are listed twice."""
    found = []
    trained = {row.label: row for row in listing.rows if row.part == "train"}
    shared = {row.label: row for row in listing.rows if row.part != "train" and row.label in trained}
    if shared:
        label, tested = next(iter(shared.items()))
        found.append(
            f"{len(shared):,} class{'es are' if len(shared) > 1 else ' is'} in training and test, such as {label!r} "
            f"({trained[label].name} and {tested.name}). The published split has no such class: replace the set with "
            "the original."
        )
    twice = [name for name, count in Counter(row.name for row in listing.rows).items() if count > 1]
    if twice:
        found.append(
            f"{len(twice):,} image{'s are' if len(twice) > 1 else ' is'} listed twice, such as "
            f"{escape_name(twice[0])}. Replace the lists with the original ones."
        )
    return found


def found_files(listing: Listing) -> tuple[ImageFiles, list[str]]:
    """Return the files of the images that exist, and one sentence if some do not exist or lie outside of the folder."""
    files: list[FoundFile] = []
    missing: list[str] = []
    for row in listing.rows:
        file = found_file(listing.root, row.name) if lies_below(row.name) else None
        if file is None:
            missing.append(row.name)
        else:
            files.append(file)
    sentences = []
    if missing:
        sentences.append(
            f"{listing.root} lacks {len(missing):,} of the {len(listing.rows):,} files that the lists name, such as "
            f"{escape_name(missing[0])}. Restore the files from the original set."
        )
    return listed_files(listing.root, files), sentences


def read_columns(path: Path, columns: Sequence[str], skip: int = 0) -> list[list[str]]:
    """Read a list of values that spaces separate. Empty lines are skipped.

    Args:
        path: the file.
        columns: names of the columns, for messages.
        skip: number of lines before the first image.

    Raises:
        UserError: if the file cannot be read, or a line has another number of values.
    """
    try:
        text = read_file(path, LARGEST_LIST).decode()
    except UnicodeDecodeError as error:
        raise ResourceError(f"{path} is not UTF-8 ({error.reason}). It is damaged: replace it.") from error
    rows = []
    for number, line in enumerate(text.splitlines()[skip:], start=skip + 1):
        values = line.split()
        if not values:
            continue
        if len(values) != len(columns):
            raise ResourceError(
                f"{path}, line {number:,}, has {len(values)} values, but {len(columns)} are expected "
                f"({' '.join(columns)}). It is damaged: replace it."
            )
        rows.append(values)
    return rows


def whole_number(path: Path, what: str, text: str) -> int:
    """Return a number of a list.

    Raises:
        ResourceError: if the text is not a whole number of at most nine digits.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ResourceError(f"{path} has {what} {text[:40]!r}, which is no whole number. It is damaged: replace it.")
    return int(text)
