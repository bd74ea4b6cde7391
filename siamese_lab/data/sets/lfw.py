"""Labeled Faces in the Wild: 13,233 photographs of 5,749 people (Huang et al. 2007, UMass TR 07-49).

View 1 is for development: 4,038 people to train on, 1,711 others to test. View 2 is for figures to report: ten folds of
people; who is tested is in one of them, and everyone in it is left out of training. Validation is done on people that
are held out from those to train on.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch
from PIL import Image, ImageOps

from siamese_lab.data.convert.common import Converted, changes_of_form, eight_bits
from siamese_lab.data.datamodule import TRAINED_CLASSES, DataModule, Splits, register
from siamese_lab.data.info import CrossValidation
from siamese_lab.data.io.decode import decode, unreadable
from siamese_lab.data.io.download import Remote
from siamese_lab.data.io.image_files import ImageFiles, list_images
from siamese_lab.data.io.sources import Sources, packed
from siamese_lab.data.official_protocols import OfficialPairs, RowPairs, official_pairs
from siamese_lab.data.sets.lfw_pairs import LfwPairs, read_pairs
from siamese_lab.data.sets.lfw_people import FOLDS, people
from siamese_lab.data.splits import check_nth, hold_out_classes
from siamese_lab.data.tables.image_table import FORMAT, ImageTable, cached, check_stored, default_cache
from siamese_lab.errors import ResourceError, UserError
from siamese_lab.registry import did_you_mean

FOLDER = "lfw-py"
SIDE = 250
SUFFIX = ".jpg"
MIRRORS = ("https://ndownloader.figshare.com/files/", "https://figshare.com/ndownloader/files/")


def figshare_file(name: str, number: int, digest: str) -> Remote:
    """A file of figshare's, which has numbers for names."""
    return Remote(name, tuple(f"{mirror}{number}" for mirror in MIRRORS), digest)


class Alignment(NamedTuple):
    """One of the ways in which the photographs were turned so that the faces stand upright."""

    stem: str
    """Of the folder, and of archives other than the official one."""
    archive: str
    remote: Remote | None
    """Where it can be downloaded from, if anywhere."""


ALIGNMENTS = {
    "deepfunneled": Alignment("lfw-deepfunneled", "lfw-deepfunneled.tgz", None),
    "funneled": Alignment(
        "lfw_funneled",
        "lfw-funneled.tgz",
        figshare_file(
            "lfw-funneled.tgz", 5976015, "sha256:b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a"
        ),
    ),
    "original": Alignment(
        "lfw",
        "lfw.tgz",
        figshare_file("lfw.tgz", 5976018, "sha256:055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0"),
    ),
}
BEST_FIRST = ("deepfunneled", "funneled")
"""What `alignment: null` looks for (Huang et al. 2012 align better than Huang et al. 2007)."""

PAIRS = {
    "view_1_train": figshare_file("pairsDevTrain.txt", 5976012, "md5:4f27cbf15b2da4a85c1907eb4181ad21"),
    "view_1_test": figshare_file("pairsDevTest.txt", 5976009, "md5:5132f7440eb68cf58910c8a45a2ac10b"),
    "view_2": figshare_file("pairs.txt", 5976006, "md5:9f1ba174e4e1c508ff7cdf10ac338a7d"),
}


FACES = (
    "This network was trained on Labeled Faces in the Wild, photographs of public figures taken from news of the early "
    "2000s, most of them of men, of adults and of light skin. Its errors are known for such photographs only, and must "
    "be expected to be more frequent for everyone else. **It must not be used** to identify or to authenticate people, "
    "to decide anything about a person (access, work, credit, policing, migration), for surveillance, or to infer who "
    "someone is, their sex, age, origin, health or state of mind. It shows what strategies of selecting training "
    "samples do; that is all it is for."
)


@register("lfw")
class Lfw(DataModule):
    """LFW from a copy in torchvision's layout, archived or unpacked, or else downloaded (funneled).

    Args:
        root: the folder that may hold `lfw-py/`; only read.
        cache: where downloads and decoded images are kept; by default the user's cache folder.
        alignment: `deepfunneled`, `funneled` or `original`; by default deep-funneled where there is a copy of it,
            else funneled. Deep-funneled images cannot be downloaded.
        view: 1 or 2.
        fold: of View 2, 0…9: whose people are tested.
        hold_out: one in how many of the people to train on is held out for validation, from those with the most
            images to those with one.
        crop: side of the middle square that is kept, of 250 pixels.
        image_size: height and width that it is resized to.
        colour: red, green and blue, or grey.
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
        hold_out: int = 10,
        crop: int = 150,
        image_size: int = 64,
        colour: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        check_options(alignment, view, fold, crop, image_size)
        check_nth(hold_out)
        self.cache = Path(cache) if cache is not None else default_cache()
        self.sources = Sources(FOLDER, root, self.cache)
        self.asked_alignment = alignment
        self.view = view
        self.fold = fold
        self.protocol = f"View {view}"
        self.cross_validation = None if fold is None else CrossValidation(fold, FOLDS, "fold", f"view_{view}/")
        self.hold_out = hold_out
        self.crop = crop
        self.image_size = image_size
        self.colour = colour
        self.channels = 3 if colour else 1

    def load(self) -> Splits:
        """Decode all images, or take them from the cache, and split them by people."""
        learnt, tested = self._split_people()
        size_C = torch.tensor([people()[label].images for label in learnt])
        kept, held = hold_out_classes(size_C, self.hold_out)
        train, validation = ([learnt[path] for path in part] for part in (kept, held))
        return Splits(*(self.everyone.classes(part) for part in (train, validation, tested)))

    @cached_property
    def everyone(self) -> ImageTable:
        """All 13,233 images, sorted by person and number: the table whose rows `pairs` refers to."""
        _, files = self._files()
        return cached(self.cache, self._key(files), lambda: self._decode(files))

    @cached_property
    def official_pairs(self) -> OfficialPairs:
        """Of View 1: its test pairs, the threshold chosen on its training pairs. Of View 2: the 600 of the fold, the
        threshold chosen on the other nine.

        Raises:
            UserError: for a file that is not there or not whole.
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
        """The official pairs `view_1_train` (2,200), `view_1_test` (1,000) or `view_2` (6,000 in ten folds).

        Raises:
            UserError: for another name, and for a file that is not there or not whole.
        """
        if which not in PAIRS:
            raise UserError(f"LFW has no pairs {which!r}.{did_you_mean(which, PAIRS)} Available: {', '.join(PAIRS)}.")
        return read_pairs(self.sources.find_or_download(PAIRS[which]), people())

    def check_unseen(self, learnt: Mapping[str, Any]) -> None:
        """Refuse a network that was trained on people whom this view and fold tests, as both views part them anew."""
        if learnt["name"] != "lfw":
            return
        view, fold = learnt["view"], learnt["fold"]
        seen = set(tested_people(self.view, self.fold)) - set(tested_people(view, fold))
        if seen:
            here = part_of_lfw(self.view, self.fold)
            told = f"{self.view}" if self.fold is None else f"{self.view} data.fold={self.fold}"
            raise UserError(
                f"A network trained on {part_of_lfw(view, fold)} of LFW has seen {len(seen)} of the people that {here} "
                f"tests, so it cannot be reported there. Train one with data.view={told}, or evaluate this one where "
                "it belongs."
            )

    def state_dict(self) -> dict[str, Any]:
        """With whom is learnt from, for `check_unseen`."""
        return super().state_dict() | {TRAINED_CLASSES: {"name": "lfw", "view": self.view, "fold": self.fold}}

    def provenance(self) -> dict[str, str]:
        """Which images they are, where they come from and where they are decoded to."""
        alignment, files = self._files()
        return {
            "files": files.path.name,
            "from": self.sources.origin(files.path),
            "cache": str(self.cache),
            "alignment": alignment,
        }

    def absent(self) -> list[str]:
        """The photographs, and whichever list of pairs there is no copy of."""
        archive = [] if self._locate() is not None else [self._preferred().archive]
        lists = [listed.name for listed in PAIRS.values() if self.sources.find(listed.name) is None]
        return [self.sources.absent(name) for name in archive + lists]

    def verify(self) -> list[str]:
        """Read every photograph, the stored table of them, and the pairs."""
        found = []
        if (located := self._locate()) is None:
            found.append(self.sources.absent(self._preferred().archive))
        else:
            files = list_images(located[1], SUFFIX)
            try:
                check_files(files)
                found += unreadable(files, self._convert)
            except UserError as error:
                found.append(str(error))
            found += check_stored(self.cache / self._key(files))
        for listed in PAIRS.values():
            path = self.sources.find(listed.name)
            if path is None:
                found.append(self.sources.absent(listed.name))
                continue
            try:
                read_pairs(path, people())
            except UserError as error:
                found.append(str(error))
        return found

    def _split_people(self) -> tuple[list[int], list[int]]:
        """Whom to learn from and whom to test, by their paths in `people()`."""
        tested = tested_people(self.view, self.fold)
        return sorted(set(range(len(people()))) - set(tested)), tested

    def _files(self) -> tuple[str, ImageFiles]:
        """The images and their alignment, downloaded if they are nowhere."""
        if (located := self._locate()) is not None:
            alignment, path = located
            return alignment, list_images(path, SUFFIX)
        asked = self._preferred()
        if asked.remote is None:
            raise ResourceError(
                f"{self.sources.absent(asked.archive)} Deep-funneled images can no longer be downloaded: put that "
                f"archive, or a folder {asked.stem}/, there, or leave data.alignment=null to use funneled ones."
            )
        name = next(name for name, each in ALIGNMENTS.items() if each is asked)
        return name, list_images(self.sources.find_or_download(asked.remote), SUFFIX)

    def _locate(self) -> tuple[str, Path] | None:
        """The alignment that there is a copy of, and where; the better one first."""
        for name in BEST_FIRST if self.asked_alignment is None else (self.asked_alignment,):
            each = ALIGNMENTS[name]
            path = self.sources.find(*packed(each.stem), each.archive)
            if path is not None:
                return name, path
        return None

    def _preferred(self) -> Alignment:
        """What to ask for where there is none."""
        return ALIGNMENTS[self.asked_alignment or BEST_FIRST[-1]]

    def _key(self, files: ImageFiles) -> str:
        """The same for both views and all folds."""
        return f"lfw-{'colour' if self.colour else 'grey'}-{self.crop}to{self.image_size}px-{files.key}-v{FORMAT}"

    def _decode(self, files: ImageFiles) -> ImageTable:
        check_files(files)
        labels_N = torch.arange(len(people())).repeat_interleave(torch.tensor([each.images for each in people()]))
        return ImageTable(decode(files, self._convert), labels_N, tuple(person.name for person in people()))

    def converted(self, image: Image.Image) -> Converted:
        """The middle of a photograph, which is first brought to the 250×250 pixels of the set's, if it has others.

        Faces are neither looked for nor aligned: they should fill a photograph as much as those of LFW do.
        """
        changes = changes_of_form(image, self._mode, self.image_size)
        plain = eight_bits(ImageOps.exif_transpose(image))
        if plain.size != (SIDE, SIDE):
            plain = ImageOps.fit(plain.convert(self._mode), (SIDE, SIDE), Image.Resampling.BILINEAR)
        return Converted(self._middle(plain), changes)

    def _convert(self, image: Image.Image) -> Image.Image:
        if image.size != (SIDE, SIDE):
            raise UserError(f"it has {image.size[0]}×{image.size[1]} pixels, not {SIDE}×{SIDE}")
        return self._middle(image)

    @property
    def _mode(self) -> str:
        return "RGB" if self.colour else "L"

    def _middle(self, image: Image.Image) -> Image.Image:
        """Made smaller with anti-aliasing."""
        margin = (SIDE - self.crop) / 2
        middle = (margin, margin, SIDE - margin, SIDE - margin)
        side = (self.image_size, self.image_size)
        return image.convert(self._mode).resize(side, Image.Resampling.BILINEAR, middle)


def tested_people(view: int, fold: int | None) -> list[int]:
    """Who is tested, by their paths in `people()`; everyone else is to learn from."""
    return [
        label
        for label, person in enumerate(people())
        if (person.view_1 == "test" if view == 1 else person.fold == fold)
    ]


def part_of_lfw(view: int, fold: int | None) -> str:
    """As in 'fold 3 of View 2'."""
    return f"View {view}" if fold is None else f"fold {fold} of View {view}"


def check_options(alignment: str | None, view: int, fold: int | None, crop: int, image_size: int) -> None:
    """Raise UserError for options that are not there or do not go together."""
    if alignment is not None and alignment not in ALIGNMENTS:
        raise UserError(
            f"data.alignment must be null or one of {', '.join(ALIGNMENTS)}, but is {alignment!r}."
            f"{did_you_mean(alignment, ALIGNMENTS)}"
        )
    if view not in (1, 2):
        raise UserError(f"LFW has the views 1 and 2, but data.view is {view!r}.")
    if view == 2 and fold not in range(FOLDS):
        raise UserError(
            f"View 2 of LFW is one of ten folds: set data.fold=0…{FOLDS - 1}, which is {fold}. "
            "All of them: python -m siamese_lab.train -m experiment=lfw_view2."
        )
    if view == 1 and fold is not None:
        raise UserError(f"View 1 of LFW has no folds, but data.fold is {fold}. Set data.view=2, or data.fold=null.")
    if not 1 <= crop <= SIDE:
        raise UserError(f"LFW's photographs have {SIDE}×{SIDE} pixels; data.crop must be 1…{SIDE}, not {crop}.")
    if image_size < 1:
        raise UserError(f"data.image_size must be at least 1 pixel, but is {image_size}.")


def check_files(files: ImageFiles) -> None:
    """Raise UserError unless these are all the photographs, and nothing else."""
    found = ["/".join(PurePosixPath(name).parts[-2:]) for name in files.names]
    expected = [name for person in people() for name in person.files()]
    if found != expected:
        missing, strange = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        told = [
            f"{len(names):,} {what}, such as {names[0]}"
            for names, what in ((missing, "missing"), (strange, "unknown"))
            if names
        ]
        raise ResourceError(
            f"{files.path} should hold the {len(expected):,} photographs of {len(people()):,} people, but holds "
            f"{len(found):,} ({'; '.join(told) or 'some twice or out of order'}). It is incomplete or something else: "
            "replace it."
        )
