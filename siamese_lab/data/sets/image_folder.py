"""Your own images: one folder for each class, `root/CLASS/*.jpg`.

The classes are split into disjoint training, validation and test classes. Images that fit into memory are decoded once
and cached. Otherwise worker processes decode them on request.
"""

import hashlib
import os
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.convert.photo import PhotoConverter
from siamese_lab.data.datamodule import DataModule, Splits, register
from siamese_lab.data.info import DataSetInfo
from siamese_lab.data.io.decode import decode, find_unreadable, unreadable
from siamese_lab.data.io.file_names import escape_name
from siamese_lab.data.io.folder_walk import IMAGE_SUFFIXES, Reason, describe_left_out, problem_of_folder
from siamese_lab.data.io.image_files import ImageFiles, list_images
from siamese_lab.data.io.messages import announce, announce_skipped
from siamese_lab.data.splits import LEAST_CLASSES
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.data.tables.files_table import ADVICE, FilesTable
from siamese_lab.data.tables.image_table import FORMAT, ImageTable, cached, check_stored, default_cache
from siamese_lab.errors import ResourceError, UserError
from siamese_lab.runs.classes import ClassParts

PARTS = 3
NEEDED = f"{LEAST_CLASSES} to train on, {LEAST_CLASSES} to validate on and {LEAST_CLASSES} to test on"
IN_MEMORY = ("auto", "true", "false")


@register("image_folder")
class ImageFolder(DataModule):
    """Images of any type and size in one folder per class.

    Args:
        root: folder that contains one folder per class. A class folder may have subfolders. It is only read. Hidden
            and system folders are ignored, and each folder is read once, see `siamese_lab.data.io.folder_walk`.
        cache: folder for decoded images; None is the user's cache folder.
        image_size: height and width in pixels; the shorter side is resized to it, and the middle square is kept.
        color: True for RGB, False for gray.
        validation_fraction, test_fraction: fractions of the classes.
        split_seed: seed of the class split. It is separate from the run's seed, so that runs are comparable.
        skip_unreadable: skip images that cannot be read, instead of raising an error.
        in_memory: `true` decodes all images once, `false` decodes them on request, `auto` decides by `memory_limit`.
        memory_limit: maximum size of the decoded images in megabytes, for `auto`.
        workers: number of processes that decode if the images are not in memory; None is one per core.
        **common: see `DataModule`.
    """

    title = "Image folder"
    split_options = ("validation_fraction", "test_fraction", "split_seed")
    order = 60
    limitations = (
        "If the images of the folder show people, this network must not be used to identify them, to decide "
        "anything about them, or for surveillance.",
    )

    def __init__(
        self,
        root: str | Path | None = None,
        cache: str | Path | None = None,
        image_size: int = 64,
        color: bool = True,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        skip_unreadable: bool = False,
        in_memory: bool | str = "auto",
        memory_limit: float = 4000,
        workers: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        _check_options(image_size, validation_fraction, test_fraction, in_memory, workers)
        self.root = Path(root).expanduser() if root is not None else None
        self.cache = Path(cache) if cache is not None else default_cache()
        self.image_size = image_size
        self.color = color
        self.channels = 3 if color else 1
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.skip_unreadable = skip_unreadable
        self.in_memory = str(in_memory).lower()
        self.memory_limit = memory_limit
        self.workers = workers if workers is not None else os.cpu_count() or 1
        self._kept: ClassParts | None = None

    @property
    def convert(self) -> PhotoConverter:
        """Converts any image to an image of the set."""
        return PhotoConverter(self.image_size, self.color)

    @cached_property
    def files(self) -> ImageFiles:
        """The image files of the set, without excluded images.

        Raises:
            UserError: if no image is left.
        """
        every = self._every_file
        if len(self.stray) == len(every.names):
            found = "only images outside of such folders" if every.names else "no images"
            raise UserError(
                f"{every.path} should hold a folder of images for each class ({every.path.name}/CLASS/NAME.jpg, or "
                f"{', '.join(IMAGE_SUFFIXES[1:6])}, …), but holds {found}. {self._left_out()}".rstrip()
            )
        if line := self._left_out():
            announce(line)
        files = every.without(self.stray)
        return self._readable(files) if self.skip_unreadable else files

    @cached_property
    def _every_file(self) -> ImageFiles:
        return list_images(_folder(self.root), IMAGE_SUFFIXES)

    @cached_property
    def stray(self) -> frozenset[str]:
        """Names of the images that are in no class folder."""
        return frozenset(name for name in self._every_file.names if "/" not in name)

    def _left_out(self) -> str:
        """Return one line that counts what is left out of the folder, with reasons and cures; "" for nothing."""
        content = self._every_file.content
        with_images = {name.split("/", 1)[0] for name in self._every_file.names}
        empty = [name for name in content.folders if "/" not in name and name not in with_images]
        own = {Reason.STRAY: sorted(self.stray), Reason.EMPTY: empty}
        return describe_left_out(self._every_file.path, {**content.left_out, **own})

    def load(self) -> Splits:
        """Decode all images, or load them from the cache, or leave them in their files. Then split the classes."""
        files, labeled = self.files, self._labeled
        table: BaseTable
        if self._fits(len(files.names)):
            table = cached(self.cache, self._key(files), lambda: self._decode(files, labeled))
        else:
            table = FilesTable(
                files.path, files.names, labeled.labels_N, labeled.class_names, self.convert, self.workers
            )
        return Splits(*(table.classes(part) for part in self._split_classes(labeled)))

    @cached_property
    def _labeled(self) -> "_LabeledFiles":
        return _label_by_folder(self.files.names)

    def current_classes(self) -> frozenset[str]:
        """Return the names of all class folders that hold images now."""
        return frozenset(self._labeled.class_names)

    def keep_parts(self, parts: ClassParts) -> None:
        """Keep each class in the part that it had in a training. Classes that are new since then are in no part."""
        self._kept = parts

    def _decode(self, files: ImageFiles, labeled: "_LabeledFiles") -> ImageTable:
        try:
            images_NCHW = decode(files, self.convert)
        except UserError as error:
            raise ResourceError(f"{error} {ADVICE}") from error
        return ImageTable(images_NCHW, labeled.labels_N, labeled.class_names)

    def describe(self) -> DataSetInfo:
        """Return the description with the folder in the title, because every folder is a separate data set."""
        described = super().describe()
        return described if self.root is None else described._replace(title=f"Images of {self.root.resolve().name}")

    def provenance(self) -> dict[str, str]:
        """Return the folder, and the cache or the number of decoding processes."""
        in_memory = self._fits(len(self.files.names))
        where = {"cache": str(self.cache)} if in_memory else {"decoded": f"on request, {self.workers} processes"}
        return {"from": str(self.files.path)} | where

    def absent(self) -> list[str]:
        """Return a sentence if the folder is missing. It cannot be downloaded."""
        if self.root is not None and problem_of_folder(self.root) is None:
            return []
        return [f"There is no folder data.root={self.root}."]

    def verify(self) -> list[str]:
        """Read every image and the cached table."""
        return unreadable(self._every_file.without(self.stray), self.convert) + check_stored(
            self.cache / self._key(self.files)
        )

    def _key(self, files: ImageFiles) -> str:
        left_out = hashlib.sha256(repr(sorted(files.left_out)).encode()).hexdigest()[:8]
        form = f"{self.image_size}px-{'color' if self.color else 'gray'}"
        return f"image_folder-{form}-{files.key}-{left_out}-v{FORMAT}"

    def _fits(self, count: int) -> bool:
        if self.in_memory != "auto":
            return self.in_memory == "true"
        return count * self.channels * self.image_size**2 <= self.memory_limit * 1e6

    def _readable(self, files: ImageFiles) -> ImageFiles:
        """Return the files without unreadable images, and announce them."""
        bad = find_unreadable(files, self.convert)
        announce_skipped([each.complaint.removesuffix(" Replace it.") for each in bad], len(files.names))
        if len(bad) == len(files.names):
            raise UserError(f"{files.path} holds {len(bad)} images, but none of them can be read.")
        return files.without(frozenset(each.name for each in bad))

    def _split_classes(self, labeled: "_LabeledFiles") -> tuple[list[int], ...]:
        """Split the classes into training, validation and test classes, each in ascending order.

        Classes with one image are split separately, because they provide neither positives nor queries.

        Raises:
            UserError: if there are too few classes.
        """
        if self._kept is not None:
            label_of = {name: label for label, name in enumerate(labeled.class_names)}
            return tuple([label_of[name] for name in part.names if name in label_of] for part in self._kept)
        size_C = labeled.labels_N.bincount(minlength=len(labeled.class_names))
        shuffled_C = torch.randperm(len(size_C), generator=torch.Generator().manual_seed(self.split_seed))
        several, single = (
            shuffled_C[chosen_C].tolist() for chosen_C in (size_C[shuffled_C] > 1, size_C[shuffled_C] < 2)
        )
        self._check_classes(len(size_C), len(several))
        parts = zip(self._cut(several, at_least=LEAST_CLASSES), self._cut(single, at_least=0), strict=True)
        return tuple(sorted(some + others) for some, others in parts)

    def _cut(self, classes: list[int], at_least: int) -> tuple[list[int], list[int], list[int]]:
        held = max(at_least, round(len(classes) * self.validation_fraction))
        end = held + max(at_least, round(len(classes) * self.test_fraction))
        return classes[end:], classes[:held], classes[held:end]

    def _check_classes(self, count: int, several: int) -> None:
        path, needed = self.files.path, LEAST_CLASSES * PARTS
        if count < needed:
            raise UserError(
                f"{path} holds {count} class{'es' * (count > 1)}, but at least {needed} are needed: {NEEDED}. "
                "Add classes."
            )
        if several < needed:
            raise UserError(
                f"Of the {count} classes in {path}, {several or 'none'} have two images or more, but at least "
                f"{needed} must: {NEEDED}. A query needs another image of its class. Add images."
            )
        left = len(self._cut(list(range(several)), at_least=LEAST_CLASSES)[0])
        if left < LEAST_CLASSES:
            raise UserError(
                f"Of the {several} classes of two images or more in {path}, {left} would remain for training, but "
                f"{LEAST_CLASSES} are needed. Lower data.validation_fraction or data.test_fraction."
            )


class _LabeledFiles(NamedTuple):
    """The label of each image, and the class names."""

    labels_N: Tensor
    class_names: tuple[str, ...]


def _label_by_folder(names: tuple[str, ...]) -> _LabeledFiles:
    """Label each image by the first folder of its name."""
    classes = [name.split("/", 1)[0] for name in names]
    class_names = tuple(sorted(Counter(classes)))
    number = {name: label for label, name in enumerate(class_names)}
    return _LabeledFiles(torch.tensor([number[name] for name in classes]), class_names)


def _folder(root: Path | None) -> Path:
    if root is None:
        raise UserError(
            "data=image_folder reads your own images: set data.root=FOLDER to a folder that contains one folder of "
            "images for each class."
        )
    if escape_name(root) != str(root):
        raise UserError(
            f"data.root is {escape_name(root)}, which has bytes that are not UTF-8 or control characters, so results "
            "cannot name it. Rename the folder, or make a link to it and set data.root to the link."
        )
    if (problem := problem_of_folder(root)) is not None:
        raise ResourceError(f"data.root is {root}, but {problem}. Set data.root=FOLDER to a folder of images.")
    return root


def _check_options(
    image_size: int, validation_fraction: float, test_fraction: float, in_memory: bool | str, workers: int | None
) -> None:
    if image_size < 1:
        raise UserError(f"data.image_size must be at least 1 pixel, but is {image_size}.")
    if not (0 < validation_fraction < 1 and 0 < test_fraction < 1 and validation_fraction + test_fraction < 1):
        raise UserError(
            "data.validation_fraction and data.test_fraction must be above 0, and their sum below 1, but they "
            f"are {validation_fraction} and {test_fraction}."
        )
    if str(in_memory).lower() not in IN_MEMORY:
        raise UserError(f"data.in_memory must be one of {', '.join(IN_MEMORY)}, but is {in_memory!r}.")
    if workers is not None and workers < 0:
        raise UserError(f"data.workers must be 0 or more, but is {workers}.")
