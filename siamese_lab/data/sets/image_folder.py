"""Images of one's own: one folder for each class, `root/CLASS/*.jpg`.

Classes are parted into those to train on, those to validate on and those to test on; none is in two. What fits into
memory is decoded once and cached; what does not is decoded by worker processes whenever it is asked for.
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
from siamese_lab.data.io.image_files import ImageFiles, list_images
from siamese_lab.data.io.messages import announce
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.data.tables.files_table import ADVICE, FilesTable
from siamese_lab.data.tables.image_table import FORMAT, ImageTable, cached, check_stored, default_cache
from siamese_lab.errors import ResourceError, UserError

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
LEAST_CLASSES = 4
IN_MEMORY = ("auto", "true", "false")


@register("image_folder")
class ImageFolder(DataModule):
    """Images in a folder for each class, of any kind and size.

    Args:
        root: holds a folder for each class, whose images may lie in folders of their own; only read.
        cache: where decoded images are kept; by default the user's cache folder.
        image_size: height and width; the shorter side is resized to it, and the middle kept.
        colour: red, green and blue, or grey.
        validation_share, test_share: of the classes.
        split_seed: of which classes these are; another one than the run's, so that runs compare.
        skip_unreadable: leave out images that cannot be read, instead of stopping at them.
        in_memory: `true` decodes all images once, `false` whenever they are asked for, `auto` the one or the other by
            `memory_limit`.
        memory_limit: megabytes that the decoded images may take.
        workers: processes that decode, where images are not in memory; None takes one for each core.
        **common: see `DataModule`.
    """

    title = "Image folder"
    order = 60
    limitations = (
        "Where the images of the folder show people, this network must not be used to identify them, to decide "
        "anything about them, or for surveillance.",
    )

    def __init__(
        self,
        root: str | Path | None = None,
        cache: str | Path | None = None,
        image_size: int = 64,
        colour: bool = True,
        validation_share: float = 0.1,
        test_share: float = 0.2,
        split_seed: int = 0,
        skip_unreadable: bool = False,
        in_memory: bool | str = "auto",
        memory_limit: float = 4000,
        workers: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        _check_options(image_size, validation_share, test_share, in_memory, workers)
        self.root = Path(root).expanduser() if root is not None else None
        self.cache = Path(cache) if cache is not None else default_cache()
        self.image_size = image_size
        self.colour = colour
        self.channels = 3 if colour else 1
        self.validation_share = validation_share
        self.test_share = test_share
        self.split_seed = split_seed
        self.skip_unreadable = skip_unreadable
        self.in_memory = str(in_memory).lower()
        self.memory_limit = memory_limit
        self.workers = workers if workers is not None else os.cpu_count() or 1

    @property
    def convert(self) -> PhotoConverter:
        """From any image to one of the set."""
        return PhotoConverter(self.image_size, self.colour)

    @cached_property
    def files(self) -> ImageFiles:
        """The images there are, without those that are left out.

        Raises:
            UserError: if there are none.
        """
        files = list_images(_folder(self.root), SUFFIXES)
        if len(self.stray) == len(files.names):
            found = "only images that lie in none" if files.names else "no images at all"
            raise UserError(
                f"{files.path} should hold a folder of images for each class ({files.path.name}/CLASS/NAME.jpg, or "
                f"{', '.join(SUFFIXES[1:6])}, …), but holds {found}."
            )
        if self.stray:
            announce(f"Left out: {len(self.stray)} images in {files.path} that are in no class's folder.")
        files = ImageFiles(files.path, SUFFIXES, self.stray)
        return self._readable(files) if self.skip_unreadable else files

    @cached_property
    def stray(self) -> frozenset[str]:
        """The images that are in no class's folder."""
        return frozenset(name for name in list_images(_folder(self.root), SUFFIXES).names if "/" not in name)

    def load(self) -> Splits:
        """Decode all images, take them from the cache, or leave them in their files; then part the classes."""
        files = self.files
        labelled = _label(files.names)
        table: BaseTable
        if self._fits(len(files.names)):
            table = cached(self.cache, self._key(files), lambda: self._decode(files, labelled))
        else:
            table = FilesTable(
                files.path, files.names, labelled.labels_N, labelled.class_names, self.convert, self.workers
            )
        return Splits(*(table.classes(part) for part in self._part(labelled)))

    def _decode(self, files: ImageFiles, labelled: "_Labelled") -> ImageTable:
        try:
            images_NCHW = decode(files, self.convert)
        except UserError as error:
            raise ResourceError(f"{error} {ADVICE}") from error
        return ImageTable(images_NCHW, labelled.labels_N, labelled.class_names)

    def describe(self) -> DataSetInfo:
        """Name the folder in the title, as every folder is a set by itself."""
        described = super().describe()
        return described if self.root is None else described._replace(title=f"Images of {self.root.resolve().name}")

    def provenance(self) -> dict[str, str]:
        """The folder, and whether its images are in memory."""
        in_memory = self._fits(len(self.files.names))
        where = {"cache": str(self.cache)} if in_memory else {"decoded": f"when asked for, {self.workers} processes"}
        return {"from": str(self.files.path)} | where

    def absent(self) -> list[str]:
        """The folder, which cannot be downloaded."""
        return [] if self.root is not None and self.root.is_dir() else [f"There is no folder data.root={self.root}."]

    def verify(self) -> list[str]:
        """Read every image, and the stored table of these."""
        every = ImageFiles(self.files.path, SUFFIXES, self.stray)
        return unreadable(every, self.convert) + check_stored(self.cache / self._key(self.files))

    def _key(self, files: ImageFiles) -> str:
        left_out = hashlib.sha256(repr(sorted(files.left_out)).encode()).hexdigest()[:8]
        form = f"{self.image_size}px-{'colour' if self.colour else 'grey'}"
        return f"image_folder-{form}-{files.key}-{left_out}-v{FORMAT}"

    def _fits(self, count: int) -> bool:
        if self.in_memory != "auto":
            return self.in_memory == "true"
        return count * self.channels * self.image_size**2 <= self.memory_limit * 1e6

    def _readable(self, files: ImageFiles) -> ImageFiles:
        """Without the images that cannot be read, which are named."""
        bad = find_unreadable(files, self.convert)
        for each in bad:
            announce(f"Left out: {each.complaint.removesuffix(' Replace it.')}")
        if len(bad) == len(files.names):
            raise UserError(f"{files.path} holds {len(bad)} images, but none of them can be read.")
        return ImageFiles(files.path, SUFFIXES, files.left_out | {each.name for each in bad})

    def _part(self, labelled: "_Labelled") -> tuple[list[int], ...]:
        """Classes to train on, to validate on and to test on, in ascending order.

        Those with one image are parted by themselves, as nothing can be learnt from them nor found.

        Raises:
            UserError: if there are too few.
        """
        size_C = labelled.labels_N.bincount(minlength=len(labelled.class_names))
        shuffled_C = torch.randperm(len(size_C), generator=torch.Generator().manual_seed(self.split_seed))
        several, single = (
            shuffled_C[chosen_C].tolist() for chosen_C in (size_C[shuffled_C] > 1, size_C[shuffled_C] < 2)
        )
        self._check_classes(len(size_C), len(several))
        parts = zip(self._cut(several, at_least=1), self._cut(single, at_least=0), strict=True)
        return tuple(sorted(some + others) for some, others in parts)

    def _cut(self, classes: list[int], at_least: int) -> tuple[list[int], list[int], list[int]]:
        held = max(at_least, round(len(classes) * self.validation_share))
        end = held + max(at_least, round(len(classes) * self.test_share))
        return classes[end:], classes[:held], classes[held:end]

    def _check_classes(self, count: int, several: int) -> None:
        path, needed = self.files.path, "2 to train on, 1 to validate on and 1 to test on"
        if count < LEAST_CLASSES:
            raise UserError(
                f"{path} holds {count} class{'es' * (count > 1)}, but at least {LEAST_CLASSES} are needed: {needed}."
            )
        if several < LEAST_CLASSES:
            raise UserError(
                f"Of the {count} classes in {path}, {several or 'none'} have two images or more, but at least "
                f"{LEAST_CLASSES} must: {needed}. An image alone in its class has nothing that it could be found by."
            )
        left = len(self._cut(list(range(several)), at_least=1)[0])
        if left < 2:
            raise UserError(
                f"Of the {several} classes of two images or more in {path}, {left} would be left to train on, but 2 "
                "are needed. Lower data.validation_share or data.test_share."
            )


class _Labelled(NamedTuple):
    """Which class each image is of."""

    labels_N: Tensor
    class_names: tuple[str, ...]


def _label(names: tuple[str, ...]) -> _Labelled:
    """The class is the first folder of the name."""
    classes = [name.split("/", 1)[0] for name in names]
    class_names = tuple(sorted(Counter(classes)))
    number = {name: label for label, name in enumerate(class_names)}
    return _Labelled(torch.tensor([number[name] for name in classes]), class_names)


def _folder(root: Path | None) -> Path:
    if root is None:
        raise UserError(
            "data=image_folder reads images of your own: set data.root=FOLDER to a folder that holds one of images for "
            "each class."
        )
    if not root.is_dir():
        raise ResourceError(f"data.root is {root}, but there is no such folder.")
    return root


def _check_options(
    image_size: int, validation_share: float, test_share: float, in_memory: bool | str, workers: int | None
) -> None:
    if image_size < 1:
        raise UserError(f"data.image_size must be at least 1 pixel, but is {image_size}.")
    if not (0 < validation_share < 1 and 0 < test_share < 1 and validation_share + test_share < 1):
        raise UserError(
            "data.validation_share and data.test_share are shares of the classes, above 0 and together below 1, but "
            f"are {validation_share} and {test_share}."
        )
    if str(in_memory).lower() not in IN_MEMORY:
        raise UserError(f"data.in_memory is one of {', '.join(IN_MEMORY)}, not {in_memory!r}.")
    if workers is not None and workers < 0:
        raise UserError(f"data.workers must be 0 or more, but is {workers}.")
