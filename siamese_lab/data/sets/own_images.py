"""Read the user's own images: from memory if they fit, or on request. Data sets of own files share these options.

Shapes: N images, C classes.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.convert.photo import PhotoConverter
from siamese_lab.data.io.crops import Crops
from siamese_lab.data.io.decode import Unreadable, decode, find_unreadable
from siamese_lab.data.io.image_files import ImageFiles
from siamese_lab.data.io.messages import announce_skipped
from siamese_lab.data.splits import LEAST_CLASSES, LEAST_IMAGES
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.data.tables.files_table import ADVICE, FilesTable
from siamese_lab.data.tables.image_table import FORMAT, ImageTable, cached, check_stored, default_cache
from siamese_lab.errors import ResourceError, UserError
from siamese_lab.runs.classes import ClassParts

PARTS = 3
NEEDED = f"{LEAST_CLASSES} to train on, {LEAST_CLASSES} to validate on and {LEAST_CLASSES} to test on"
IN_MEMORY = ("auto", "true", "false")


@dataclass(frozen=True)
class Labels:
    """The label of each image, and the class names."""

    labels_N: Tensor
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, names: Sequence[str]) -> "Labels":
        """Number the classes of a list of class names in alphabetical order."""
        class_names = tuple(sorted(set(names)))
        number = {name: label for label, name in enumerate(class_names)}
        return cls(torch.tensor([number[name] for name in names], dtype=torch.int64), class_names)


class OwnImages:
    """Decodes image files to one form, and decides whether they are kept in memory.

    Args:
        cache: folder for decoded images; None is the user's cache folder.
        image_size: height and width in pixels; the shorter side is resized to it, or to `stored_size`, and the middle
            square is kept.
        color: True for RGB, False for gray.
        in_memory: `true` decodes all images once, `false` decodes them on request, `auto` decides by `memory_limit`.
        memory_limit: maximum size of the decoded images in megabytes, for `auto`.
        workers: number of processes that decode if the images are not in memory; None is one per core.
        stored_size: height and width of the images in the table, at least `image_size`; None is `image_size`.
        converter: converts the images; the default resizes the shorter side and keeps the middle square.
        advice: ends the message about an image that cannot be read.

    Raises:
        UserError: if an option is out of range.
    """

    def __init__(
        self,
        cache: str | Path | None,
        image_size: int,
        color: bool,
        in_memory: bool | str,
        memory_limit: float,
        workers: int | None,
        stored_size: int | None = None,
        converter: type[PhotoConverter] = PhotoConverter,
        advice: str = ADVICE,
    ) -> None:
        if image_size < 1:
            raise UserError(f"data.image_size must be at least 1 pixel, but is {image_size}.")
        check_stored_size(stored_size, image_size)
        if str(in_memory).lower() not in IN_MEMORY:
            raise UserError(f"data.in_memory must be one of {', '.join(IN_MEMORY)}, but is {in_memory!r}.")
        if workers is not None and workers < 0:
            raise UserError(f"data.workers must be 0 or more, but is {workers}.")
        self.cache = Path(cache) if cache is not None else default_cache()
        self.stored_size = image_size if stored_size is None else stored_size
        self.color = color
        self.channels = 3 if color else 1
        self.in_memory = str(in_memory).lower()
        self.memory_limit = memory_limit
        self.workers = workers if workers is not None else os.cpu_count() or 1
        self.converter = converter
        self.advice = advice

    @property
    def convert(self) -> PhotoConverter:
        """Converts any image to an image of the table."""
        return self.converter(self.stored_size, self.color)

    @property
    def form(self) -> str:
        """The form of the images, as a part of cache keys."""
        return f"{self.stored_size}px-{'color' if self.color else 'gray'}"

    def key(self, kind: str, content: str) -> str:
        """Return the cache key of a table.

        Args:
            kind: name of the data set.
            content: a hash of the files.
        """
        return f"{kind}-{self.form}-{content}-v{FORMAT}"

    def fits(self, count: int) -> bool:
        """Return whether so many images are kept in memory."""
        if self.in_memory != "auto":
            return self.in_memory == "true"
        return count * self.channels * self.stored_size**2 <= self.memory_limit * 1e6

    def table(self, files: ImageFiles, labels: Labels, key: str, crops: Crops | None = None) -> BaseTable:
        """Decode all images, or load them from the cache, or leave them in their files.

        Args:
            files: the images.
            labels: their classes, which are stored with the decoded images.
            key: the cache key of files and labels.
            crops: the part of each image to use; None uses whole images.
        """
        if self.fits(len(files.names)):
            return cached(self.cache, key, lambda: self._decode(files, labels, crops))
        return FilesTable(
            files.path, files.names, labels.labels_N, labels.class_names, self.convert, self.workers, crops, self.advice
        )

    def _decode(self, files: ImageFiles, labels: Labels, crops: Crops | None) -> ImageTable:
        try:
            images_NCHW = decode(files, self.convert, crops)
        except UserError as error:
            raise ResourceError(f"{error} {self.advice}".rstrip()) from error
        return ImageTable(images_NCHW, labels.labels_N, labels.class_names)

    def unreadable(self, files: ImageFiles, crops: Crops | None = None) -> list[Unreadable]:
        """Return the images that cannot be read, and announce that they are skipped.

        Raises:
            UserError: if no image can be read.
        """
        bad = find_unreadable(files, self.convert, crops)
        announce_skipped([each.complaint.removesuffix(" Replace it.") for each in bad], len(files.names))
        if len(bad) == len(files.names):
            raise UserError(f"{files.path} holds {len(bad)} images, but none of them can be read.")
        return bad

    def provenance(self, count: int) -> dict[str, str]:
        """Return the cache of so many images, or the number of decoding processes."""
        if self.fits(count):
            return {"cache": str(self.cache)}
        return {"decoded": f"on request, {self.workers} processes"}

    def verify(self, files: ImageFiles, key: str, crops: Crops | None = None) -> list[str]:
        """Read every image and the cached table, and return one sentence for each fault."""
        return [each.complaint for each in find_unreadable(files, self.convert, crops)] + check_stored(self.cache / key)


def check_stored_size(stored_size: int | None, image_size: int) -> None:
    """Raise UserError unless images are stored at least as large as the network sees them."""
    if stored_size is not None and not (isinstance(stored_size, int) and stored_size >= image_size):
        raise UserError(
            f"data.stored_size must be a whole number of pixels, at least data.image_size={image_size}, because the "
            f"middle of the stored images is cut out, but is {stored_size}. null stores images of data.image_size."
        )


class ClassFractions(NamedTuple):
    """Splits classes into training, validation and test classes by fractions of their number."""

    validation: float
    test: float
    seed: int
    """Seed of the split, separate from the run's seed."""

    def check(self) -> None:
        """Raise UserError if the fractions leave no class for a part."""
        if not (0 < self.validation < 1 and 0 < self.test < 1 and self.validation + self.test < 1):
            raise UserError(
                "data.validation_fraction and data.test_fraction must be above 0, and their sum below 1, but they "
                f"are {self.validation} and {self.test}."
            )

    def split(self, labels: Labels, source: Path, kept: ClassParts | None = None) -> tuple[list[int], ...]:
        """Split the classes into training, validation and test classes, each in ascending order.

        Classes with one image are split separately, because they provide neither positives nor queries.

        Args:
            labels: the classes.
            source: the folder or file that they come from, for messages.
            kept: parts of a training, in which its classes stay. Further classes are in no part.

        Raises:
            UserError: if there are too few classes.
        """
        if kept is not None:
            label_of = {name: label for label, name in enumerate(labels.class_names)}
            return tuple([label_of[name] for name in part.names if name in label_of] for part in kept)
        size_C = labels.labels_N.bincount(minlength=len(labels.class_names))
        shuffled_C = torch.randperm(len(size_C), generator=torch.Generator().manual_seed(self.seed))
        several, single = (
            shuffled_C[chosen_C].tolist() for chosen_C in (size_C[shuffled_C] > 1, size_C[shuffled_C] < 2)
        )
        self._check_classes(len(size_C), len(several), source)
        parts = zip(self._cut(several, at_least=LEAST_CLASSES), self._cut(single, at_least=0), strict=True)
        return tuple(sorted(some + others) for some, others in parts)

    def hold_out(self, labels_N: Tensor, source: Path) -> list[int]:
        """Return the training classes that validate: a fraction of those with two images or more, at least two classes.

        Args:
            labels_N: the class of each training image.
            source: the folder or file that they come from, for messages.

        Raises:
            UserError: if too few classes remain for training.
        """
        size_C = labels_N.bincount()
        several = (size_C >= LEAST_IMAGES).nonzero().squeeze(1)
        number = max(LEAST_CLASSES, round(len(several) * self.validation))
        if len(several) < number + LEAST_CLASSES:
            raise UserError(
                f"{source} has {len(several)} training classes of two images or more, but {number} of them would "
                f"validate, and at least {LEAST_CLASSES} must remain for training. Add classes, or images with split "
                "validation."
            )
        shuffled = several[torch.randperm(len(several), generator=torch.Generator().manual_seed(self.seed))]
        return sorted(shuffled[:number].tolist())

    def _cut(self, classes: list[int], at_least: int) -> tuple[list[int], list[int], list[int]]:
        held = max(at_least, round(len(classes) * self.validation))
        end = held + max(at_least, round(len(classes) * self.test))
        return classes[end:], classes[:held], classes[held:end]

    def _check_classes(self, count: int, several: int, source: Path) -> None:
        needed = LEAST_CLASSES * PARTS
        if count < needed:
            raise UserError(
                f"{source} holds {count} class{'es' * (count > 1)}, but at least {needed} are needed: {NEEDED}. "
                "Add classes."
            )
        if several < needed:
            raise UserError(
                f"Of the {count} classes in {source}, {several or 'none'} have two images or more, but at least "
                f"{needed} must: {NEEDED}. A query needs another image of its class. Add images."
            )
        left = len(self._cut(list(range(several)), at_least=LEAST_CLASSES)[0])
        if left < LEAST_CLASSES:
            raise UserError(
                f"Of the {several} classes of two images or more in {source}, {left} would remain for training, but "
                f"{LEAST_CLASSES} are needed. Lower data.validation_fraction or data.test_fraction."
            )
