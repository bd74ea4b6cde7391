"""Your own images: one folder for each class, `root/CLASS/*.jpg`, or `root/{train,query,gallery}/CLASS/*.jpg`.

The classes are split into disjoint training, validation and test classes. Images that fit into memory are decoded once
and cached. Otherwise worker processes decode them on request.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from siamese_lab.data.datamodule import DataModule, QueryGalleryParts, Splits, register
from siamese_lab.data.info import DataSetInfo
from siamese_lab.data.io.file_names import escape_name
from siamese_lab.data.io.folder_walk import IMAGE_SUFFIXES, Reason, describe_left_out, problem_of_folder
from siamese_lab.data.io.image_files import ImageFiles, list_images
from siamese_lab.data.io.messages import announce
from siamese_lab.data.sets.listed_images import (
    TEST,
    TRAIN,
    VALIDATION,
    DividedImages,
    Division,
    ListedImages,
    check_divided,
    describe_protocol,
    described_roles,
)
from siamese_lab.data.sets.own_images import ClassFractions, Labels, OwnImages
from siamese_lab.errors import ResourceError, UserError
from siamese_lab.query_gallery import QueryGallery
from siamese_lab.runs.classes import ClassParts

QUERY, GALLERY = "query", "gallery"
PART_FOLDERS = {"train": TRAIN, "validation": VALIDATION, QUERY: TEST, GALLERY: TEST}
"""Folders of the parts in a folder with queries and a gallery."""


@register("image_folder")
class ImageFolder(DataModule):
    """Images of any type and size in one folder per class.

    Args:
        root: folder that contains one folder per class. A class folder may have subfolders. It is only read. Hidden
            and system folders are ignored, and each folder is read once, see `siamese_lab.data.io.folder_walk`.
        cache: folder for decoded images; None is the user's cache folder.
        image_size: height and width in pixels; the shorter side is resized to it, or to `stored_size`, and the middle
            square is kept.
        color: True for RGB, False for gray.
        validation_fraction, test_fraction: fractions of the classes.
        split_seed: seed of the class split. It is separate from the run's seed, so that runs are comparable.
        skip_unreadable: skip images that cannot be read, instead of raising an error.
        in_memory: `true` decodes all images once, `false` decodes them on request, `auto` decides by `memory_limit`.
        memory_limit: maximum size of the decoded images in megabytes, for `auto`.
        workers: number of processes that decode if the images are not in memory; None is one per core.
        closed: with `query/` and `gallery/`, True accepts test classes that are training classes: another protocol.
        **common: see `DataModule`.
    """

    title = "Image folder"
    split_options = ("validation_fraction", "test_fraction", "split_seed")
    order = 60
    resizes_photographs = True
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
        closed: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.own = OwnImages(cache, image_size, color, in_memory, memory_limit, workers, self.stored_size)
        self.fractions = ClassFractions(validation_fraction, test_fraction, split_seed)
        self.fractions.check()
        self.root = Path(root).expanduser() if root is not None else None
        self.image_size = image_size
        self.channels = self.own.channels
        self.skip_unreadable = skip_unreadable
        self.closed = closed
        self._kept: ClassParts | None = None

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
        if self.skip_unreadable:
            files = files.without(frozenset(each.name for each in self.own.unreadable(files)))
        return files

    @cached_property
    def _every_file(self) -> ImageFiles:
        return list_images(_folder(self.root), IMAGE_SUFFIXES)

    @cached_property
    def stray(self) -> frozenset[str]:
        """Names of the images that are in no class folder."""
        names = self._every_file.names
        level = 2 if has_roles(names) else 1
        return frozenset(name for name in names if name.count("/") < level)

    def _left_out(self) -> str:
        """Return one line that counts what is left out of the folder, with reasons and cures; "" for nothing."""
        content = self._every_file.content
        with_images = {name.split("/", 1)[0] for name in self._every_file.names}
        empty = [name for name in content.folders if "/" not in name and name not in with_images]
        own = {Reason.STRAY: sorted(self.stray), Reason.EMPTY: empty}
        return describe_left_out(self._every_file.path, {**content.left_out, **own})

    def load(self) -> Splits:
        """Decode all images, or load them from the cache, or leave them in their files. Then split the classes."""
        table: Any = self.own.table(self.files, self._labels, self._key(self.files))
        if self._divided is not None:
            return self._divided.splits(table)
        check_divided(self.closed, self.files.path)
        return Splits(*map(table.classes, self.fractions.split(self._labels, self.files.path, self._kept)))

    @cached_property
    def query_gallery(self) -> QueryGalleryParts | None:
        """The roles of the images of validation and test, if the folder holds `query/` and `gallery/`."""
        return None if self._divided is None else self._divided.roles

    @cached_property
    def _divided(self) -> DividedImages | None:
        """The parts, if the folder has folders for them; None if its folders are the classes."""
        if not has_roles(self.files.names):
            check_class_folders(self.files.path, self.files.names)
            return None
        tops = [name.split("/", 1)[0] for name in self.files.names]
        check_part_folders(self.files.path, [name.split("/", 1)[0] for name in self._every_file.names if "/" in name])
        part_N = torch.tensor([PART_FOLDERS[top] for top in tops])
        roles = QueryGallery(*(torch.tensor([top != other for top in tops]) for other in (GALLERY, QUERY)))
        files = self.files
        images = ListedImages(files.path, self._labels, lambda row: files.names[row], part_N, roles)
        return Division(self.fractions, self.closed, self._kept).divide(images)

    @cached_property
    def _labels(self) -> Labels:
        """Each image has the label of its class folder: the first folder of its name, or the second after a part."""
        level = int(has_roles(self.files.names))
        return Labels.of([name.split("/")[level] for name in self.files.names])

    def current_classes(self) -> frozenset[str]:
        """Return the names of all class folders that hold images now."""
        return frozenset(self._labels.class_names)

    def keep_parts(self, parts: ClassParts) -> None:
        """Keep each class in the part that it had in a training. Classes that are new since then are in no part."""
        self._kept = parts

    def describe(self) -> DataSetInfo:
        """Return the description with the folder in the title, because every folder is a separate data set."""
        described = super().describe()
        if self.root is None:
            return described
        described = described._replace(title=f"Images of {self.root.resolve().name}")
        roles = self.query_gallery if self.root.is_dir() else None  # runs of a folder that is gone keep their label
        return describe_protocol(described, self.closed, roles)

    def provenance(self) -> dict[str, str]:
        """Return the folder, and the cache or the number of decoding processes."""
        found = {"from": str(self.files.path)} | self.own.provenance(len(self.files.names))
        return found if self.query_gallery is None else found | described_roles(self.query_gallery, self.splits)

    def absent(self) -> list[str]:
        """Return a sentence if the folder is missing. It cannot be downloaded."""
        if self.root is not None and problem_of_folder(self.root) is None:
            return []
        return [f"There is no folder data.root={self.root}."]

    def verify(self) -> list[str]:
        """Read every image and the cached table."""
        return self.own.verify(self._every_file.without(self.stray), self._key(self.files))

    def _key(self, files: ImageFiles) -> str:
        left_out = hashlib.sha256(repr(sorted(files.left_out)).encode()).hexdigest()[:8]
        return self.own.key("image_folder", f"{files.key}-{left_out}")


def has_roles(names: Sequence[str]) -> bool:
    """Return whether images lie in `query/CLASS/` and `gallery/CLASS/`, and none directly in these folders.

    >>> has_roles(["query/ant/1.jpg", "gallery/ant/2.jpg"]), has_roles(["query/1.jpg", "gallery/2.jpg", "ant/3.jpg"])
    (True, False)
    """
    of_roles = [name.split("/") for name in names if name.startswith((f"{QUERY}/", f"{GALLERY}/"))]
    return {QUERY, GALLERY} == {each[0] for each in of_roles} and all(len(each) > 2 for each in of_roles)


def check_class_folders(root: Path, names: Sequence[str]) -> None:
    """Raise UserError if all folders have names of parts, because classes are then searched one level too high."""
    tops = sorted({name.split("/", 1)[0] for name in names})
    if {each.casefold() for each in tops} <= {*PART_FOLDERS, "training", "val", "valid", "test"}:
        raise UserError(
            f"{root} holds {', '.join(f'{each}/' for each in tops)}: names of parts instead of classes. Parts need "
            f"images in both {QUERY}/CLASS/ and {GALLERY}/CLASS/, in lower case, and no image directly in these "
            "folders. Otherwise set data.root to a folder that holds one folder of images per class."
        )


def check_part_folders(root: Path, tops: Sequence[str]) -> None:
    """Raise UserError if there are folders other than those of parts."""
    others = sorted(set(tops) - set(PART_FOLDERS))
    if others:
        raise UserError(
            f"{root} holds {QUERY}/ and {GALLERY}/ with folders of classes, but also {others[0]}/"
            f"{f' and {len(others) - 1} other folders' if len(others) > 1 else ''}. Move the classes to train on into "
            "train/, and those to validate on into validation/."
        )


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
