"""Labeled Faces in the Wild: 13,233 photographs of 5,749 people (Huang et al. 2007, UMass TR 07-49).

View 1 is for development: 4,038 people for training and 1,711 others for testing. View 2 is for reporting: it has ten
folds of people. One fold is tested, and all people in it are excluded from training. The validation people are held
out from the training people.
"""

from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch
from PIL import Image, ImageOps

from siamese_lab.data.convert.common import Converted, changes_of_form, eight_bits, turn_upright
from siamese_lab.data.datamodule import TRAINED_CLASSES, DataModule, Splits, register
from siamese_lab.data.info import CrossValidation
from siamese_lab.data.io.decode import decode, unreadable
from siamese_lab.data.io.download import Remote
from siamese_lab.data.io.image_files import ImageFiles, list_images
from siamese_lab.data.io.messages import faults
from siamese_lab.data.io.sources import Sources, packed
from siamese_lab.data.official_protocols import OfficialPairs, RowPairs, official_pairs
from siamese_lab.data.sets.lfw_pairs import LfwPairs, read_pairs
from siamese_lab.data.sets.lfw_people import FOLDS, people
from siamese_lab.data.splits import checked_ratio, hold_out_classes
from siamese_lab.data.tables.image_table import FORMAT, ImageTable, cached, check_stored, default_cache
from siamese_lab.errors import ResourceError, UserError
from siamese_lab.registry import did_you_mean

FOLDER = "lfw-py"
SIDE = 250
SUFFIX = ".jpg"
MIRRORS = ("https://ndownloader.figshare.com/files/", "https://figshare.com/ndownloader/files/")


def figshare_file(name: str, number: int, digest: str, largest: int) -> Remote:
    """Describe a file on figshare. Figshare identifies files by number."""
    return Remote(name, tuple(f"{mirror}{number}" for mirror in MIRRORS), digest, largest)


class Alignment(NamedTuple):
    """One alignment of the photographs: the method that turned the faces upright."""

    stem: str
    """Name of the folder, and stem of archives other than the official one."""
    archive: str
    """Name of the official archive."""
    remote: Remote | None
    """The download, or None if the archive is no longer offered."""


ALIGNMENTS = {
    "deepfunneled": Alignment("lfw-deepfunneled", "lfw-deepfunneled.tgz", None),
    "funneled": Alignment(
        "lfw_funneled",
        "lfw-funneled.tgz",
        figshare_file(
            "lfw-funneled.tgz",
            5976015,
            "sha256:b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
            243_346_528,
        ),
    ),
    "original": Alignment(
        "lfw",
        "lfw.tgz",
        figshare_file(
            "lfw.tgz", 5976018, "sha256:055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0", 180_566_744
        ),
    ),
}
BEST_FIRST = ("deepfunneled", "funneled")
"""Search order for `alignment: null` (Huang et al. 2012 align better than Huang et al. 2007)."""

PAIRS = {
    "view_1_train": figshare_file("pairsDevTrain.txt", 5976012, "md5:4f27cbf15b2da4a85c1907eb4181ad21", 56_579),
    "view_1_test": figshare_file("pairsDevTest.txt", 5976009, "md5:5132f7440eb68cf58910c8a45a2ac10b", 26_002),
    "view_2": figshare_file("pairs.txt", 5976006, "md5:9f1ba174e4e1c508ff7cdf10ac338a7d", 155_335),
}

FACES = (
    "This network was trained on Labeled Faces in the Wild, photographs of public figures from news of the early "
    "2000s. Most of them show men, adults and people with light skin. Its errors are known for such photographs only. "
    "Expect more errors for everyone else. **It must not be used** to identify or to authenticate people, "
    "to decide anything about a person (access, work, credit, policing, migration), for surveillance, or to infer who "
    "someone is, their sex, age, origin, health or state of mind. Its only purpose is to compare strategies "
    "that select training samples."
)


@register("lfw")
class Lfw(DataModule):
    """Reads LFW from a copy in torchvision's layout, archived or unpacked, or downloads it (funneled).

    Args:
        root: folder that may contain `lfw-py/`. It is only read.
        cache: folder for downloads and decoded images; None is the user's cache folder.
        alignment: `deepfunneled`, `funneled` or `original`. None uses deep-funneled images if there is a copy of them,
            and funneled images otherwise. Deep-funneled images cannot be downloaded.
        view: 1 or 2.
        fold: the fold of View 2 that is tested, 0…9; None for View 1.
        validation_fraction: fraction of the training people that are held out for validation, evenly spaced from the
            people with the most images to the people with one (see `hold_out_classes`).
        crop: side of the middle square that is kept, in pixels of the original 250.
        image_size: height and width in pixels that the square is resized to.
        color: True for RGB, False for gray.
        **common: see `DataModule`.
    """

    title = "LFW"
    order = 50
    limitations = (FACES,)
    compared = ("alignment",)

    def __init__(
        self,
        root: str | Path | None = None,
        cache: str | Path | None = None,
        alignment: str | None = None,
        view: int = 1,
        fold: int | None = None,
        validation_fraction: float = 0.1,
        crop: int = 150,
        image_size: int = 64,
        color: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        check_options(alignment, view, fold, crop, image_size)
        checked_ratio(validation_fraction)
        self.cache = Path(cache) if cache is not None else default_cache()
        self.sources = Sources(FOLDER, root, self.cache)
        self.asked_alignment = alignment
        self.view = view
        self.fold = fold
        self.protocol = f"View {view}"
        self.cross_validation = None if fold is None else CrossValidation(fold, FOLDS, "fold", f"view_{view}/")
        self.validation_fraction = validation_fraction
        self.crop = crop
        self.image_size = image_size
        self.color = color
        self.channels = 3 if color else 1

    def load(self) -> Splits:
        """Decode all images, or load them from the cache, and split them by people."""
        trained, tested = self._split_people()
        size_C = torch.tensor([people()[label].images for label in trained])
        kept, held = hold_out_classes(size_C, self.validation_fraction)
        train, validation = ([trained[index] for index in part] for part in (kept, held))
        return Splits(*(self.everyone.classes(part) for part in (train, validation, tested)))

    @cached_property
    def everyone(self) -> ImageTable:
        """All 13,233 images, sorted by person and number. `pairs` refers to the rows of this table."""
        _, files = self._files()
        return cached(self.cache, self._key(files), lambda: self._decode(files))

    @cached_property
    def official_pairs(self) -> OfficialPairs:
        """The official pairs of the view.

        View 1 reports its test pairs and chooses the threshold on its training pairs. View 2 reports the 600 pairs of
        the fold and chooses the threshold on the other nine folds.

        Raises:
            UserError: if a list of pairs is missing or incomplete.
        """
        if self.view == 1:
            choose, decide = self.pairs("view_1_train"), self.pairs("view_1_test")
        else:
            all_pairs = self.pairs("view_2")
            decided_M = all_pairs.fold_M == self.fold
            choose, decide = (LfwPairs(*(each[part] for each in all_pairs)) for part in (~decided_M, decided_M))
        without_folds = (RowPairs(each.first_M, each.second_M, each.same_M) for each in (choose, decide))
        return official_pairs(f"view_{self.view}", self.everyone, *without_folds)

    def pairs(self, which: str) -> LfwPairs:
        """Read the official pairs `view_1_train` (2,200), `view_1_test` (1,000) or `view_2` (6,000 in ten folds).

        Raises:
            UserError: for any other name, or if a list of pairs is missing or incomplete.
        """
        if which not in PAIRS:
            raise UserError(f"LFW has no pairs {which!r}.{did_you_mean(which, PAIRS)} Available: {', '.join(PAIRS)}.")
        return read_pairs(self.sources.find_or_download(PAIRS[which]), people())

    def check_unseen(self, training_data: Mapping[str, Any]) -> None:
        """Raise UserError if a network was trained on people that this view and fold tests.

        Both views split the people in different ways, so training people of one view are test people of the other.
        """
        if training_data["name"] == "lfw_closed":
            raise UserError(
                f"A network trained with data=lfw_closed has seen people that {part_of_lfw(self.view, self.fold)} of "
                "LFW tests, so it cannot be reported there. Train one with data=lfw."
            )
        if training_data["name"] != "lfw":
            return
        view, fold = training_data["view"], training_data["fold"]
        seen = set(tested_people(self.view, self.fold)) - set(tested_people(view, fold))
        if seen:
            here = part_of_lfw(self.view, self.fold)
            view_and_fold = f"{self.view}" if self.fold is None else f"{self.view} data.fold={self.fold}"
            raise UserError(
                f"A network trained on {part_of_lfw(view, fold)} of LFW has seen {len(seen)} of the people that {here} "
                f"tests, so it cannot be reported there. Train one with data.view={view_and_fold}, or evaluate "
                "this network on its own view and fold."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the base state and the options that choose the training people, for `check_unseen`."""
        return super().state_dict() | {TRAINED_CLASSES: {"name": "lfw", "view": self.view, "fold": self.fold}}

    def provenance(self) -> dict[str, str]:
        """Return the archive, its origin, the location of the cache and the alignment."""
        alignment, files = self._files()
        return {
            "files": files.path.name,
            "from": self.sources.origin(files.path),
            "cache": str(self.cache),
            "alignment": alignment,
        }

    def absent(self) -> list[str]:
        """Return one sentence for each missing file: the photographs and the lists of pairs."""
        lists = [listed.name for listed in PAIRS.values() if self.sources.find(listed.name) is None]
        return [*self.absent_photographs(), *map(self.sources.absent, lists)]

    def absent_photographs(self) -> list[str]:
        """Return a sentence if the photographs have no local copy."""
        return [] if self._locate() is not None else [self.sources.absent(self._preferred().archive)]

    def verify(self) -> list[str]:
        """Read every photograph, the cached table and the lists of pairs."""
        found = faults(self._verify_photographs)
        for listed in PAIRS.values():
            found += faults(partial(self._verify_pairs, listed))
        return found

    def _verify_photographs(self) -> list[str]:
        located = self._locate()
        if located is None:
            return [self.sources.absent(self._preferred().archive)]
        alignment, path = located
        remote = ALIGNMENTS[alignment].remote
        files = list_images(path, SUFFIX)

        def check_photographs() -> list[str]:
            check_files(files)
            return unreadable(files, self._convert)

        return [
            *(faults(partial(self.sources.check_download, remote, path)) if remote is not None else []),
            *faults(check_photographs),
            *faults(lambda: check_stored(self.cache / self._key(files))),
        ]

    def _verify_pairs(self, listed: Remote) -> list[str]:
        path = self.sources.find(listed.name)
        if path is None:
            return [self.sources.absent(listed.name)]
        read_pairs(path, people())
        return self.sources.check_download(listed, path)

    def _split_people(self) -> tuple[list[int], list[int]]:
        """Return the training people and the test people, as indices into `people()`."""
        tested = tested_people(self.view, self.fold)
        return sorted(set(range(len(people()))) - set(tested)), tested

    def _files(self) -> tuple[str, ImageFiles]:
        """Return the alignment and the image files. Download them if there is no copy."""
        if (located := self._locate()) is not None:
            alignment, path = located
            return alignment, list_images(path, SUFFIX)
        asked = self._preferred()
        if asked.remote is None:
            raise ResourceError(
                f"{self.sources.absent(asked.archive)} Deep-funneled images can no longer be downloaded: put that "
                f"archive, or a folder {asked.stem}/, into paths.data, or set data.alignment=null for funneled ones."
            )
        name = next(name for name, each in ALIGNMENTS.items() if each is asked)
        return name, list_images(self.sources.find_or_download(asked.remote), SUFFIX)

    def _locate(self) -> tuple[str, Path] | None:
        """Return the best alignment that has a local copy, and the path of the copy; None if there is no copy."""
        for name in BEST_FIRST if self.asked_alignment is None else (self.asked_alignment,):
            each = ALIGNMENTS[name]
            path = self.sources.find(*packed(each.stem), each.archive)
            if path is not None:
                return name, path
        return None

    def _preferred(self) -> Alignment:
        """Return the alignment to download if there is no local copy."""
        return ALIGNMENTS[self.asked_alignment or BEST_FIRST[-1]]

    def _key(self, files: ImageFiles) -> str:
        """Return the cache key. It is equal for both views and all folds."""
        return f"lfw-{'color' if self.color else 'gray'}-{self.crop}to{self.image_size}px-{files.key}-v{FORMAT}"

    def _decode(self, files: ImageFiles) -> ImageTable:
        check_files(files)
        labels_N = torch.arange(len(people())).repeat_interleave(torch.tensor([each.images for each in people()]))
        return ImageTable(decode(files, self._convert), labels_N, tuple(person.name for person in people()))

    def converted(self, image: Image.Image) -> Converted:
        """Crop the middle of a photograph, after resizing it to the 250×250 pixels of LFW.

        Faces are neither detected nor aligned. They should fill the photograph as much as faces in LFW do.
        """
        changes = changes_of_form(image, self._mode, self.image_size)
        plain = eight_bits(turn_upright(image))
        if plain.size != (SIDE, SIDE):
            plain = ImageOps.fit(plain.convert(self._mode), (SIDE, SIDE), Image.Resampling.BILINEAR)
        return Converted(self._middle(plain), changes)

    def _convert(self, image: Image.Image) -> Image.Image:
        if image.size != (SIDE, SIDE):
            raise UserError(f"it has {image.size[0]}×{image.size[1]} pixels, not {SIDE}×{SIDE}")
        return self._middle(image)

    @property
    def _mode(self) -> str:
        return "RGB" if self.color else "L"

    def _middle(self, image: Image.Image) -> Image.Image:
        """Crop the middle square and resize it with anti-aliasing."""
        margin = (SIDE - self.crop) / 2
        middle = (margin, margin, SIDE - margin, SIDE - margin)
        side = (self.image_size, self.image_size)
        return image.convert(self._mode).resize(side, Image.Resampling.BILINEAR, middle)


def tested_people(view: int, fold: int | None) -> list[int]:
    """Return the test people, as indices into `people()`. All other people are for training."""
    return [
        label
        for label, person in enumerate(people())
        if (person.view_1 == "test" if view == 1 else person.fold == fold)
    ]


def part_of_lfw(view: int, fold: int | None) -> str:
    """Return the name of a view or fold, such as 'fold 3 of View 2'."""
    return f"View {view}" if fold is None else f"fold {fold} of View {view}"


def check_options(alignment: str | None, view: int, fold: int | None, crop: int, image_size: int) -> None:
    """Raise UserError for options that are invalid or contradict each other."""
    if alignment is not None and alignment not in ALIGNMENTS:
        raise UserError(
            f"data.alignment must be null or one of {', '.join(ALIGNMENTS)}, but is {alignment!r}."
            f"{did_you_mean(alignment, ALIGNMENTS)}"
        )
    if view not in (1, 2):
        raise UserError(f"LFW has the views 1 and 2, but data.view is {view!r}.")
    if view == 2 and fold not in range(FOLDS):
        raise UserError(
            f"View 2 of LFW has ten folds: data.fold must be 0…{FOLDS - 1}, but is {fold}. "
            "To run all folds: python -m siamese_lab.train -m experiment=lfw_view2."
        )
    if view == 1 and fold is not None:
        raise UserError(f"View 1 of LFW has no folds, but data.fold is {fold}. Set data.view=2, or data.fold=null.")
    if not 1 <= crop <= SIDE:
        raise UserError(f"LFW's photographs have {SIDE}×{SIDE} pixels; data.crop must be 1…{SIDE}, not {crop}.")
    if image_size < 1:
        raise UserError(f"data.image_size must be at least 1 pixel, but is {image_size}.")


def check_files(files: ImageFiles) -> None:
    """Raise UserError unless these are exactly the photographs of LFW."""
    found = ["/".join(PurePosixPath(name).parts[-2:]) for name in files.names]
    expected = [name for person in people() for name in person.files()]
    if found != expected:
        missing, strange = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        differences = [
            f"{len(names):,} {what}, such as {names[0]}"
            for names, what in ((missing, "missing"), (strange, "unknown"))
            if names
        ]
        raise ResourceError(
            f"{files.path} should hold the {len(expected):,} photographs of {len(people()):,} people, but holds "
            f"{len(found):,} ({'; '.join(differences) or 'some twice or out of order'}). It is incomplete or another "
            "archive: replace it."
        )
