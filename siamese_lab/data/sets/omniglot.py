"""Omniglot: 1,623 characters of 50 alphabets, 20 drawings each (Lake et al. 2015, doi:10.1126/science.aab3050).

The 30 background alphabets (964 characters) are for training; five of them are held out for validation. The 20
alphabets of the evaluation set (659 characters, 13,180 images) are for testing.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from PIL import Image, ImageChops

from siamese_lab.data.convert.common import Converted
from siamese_lab.data.convert.drawing import convert_drawing
from siamese_lab.data.datamodule import DataModule, Splits, register
from siamese_lab.data.io.decode import decode, unreadable
from siamese_lab.data.io.download import Remote
from siamese_lab.data.io.image_files import ImageFiles, list_images
from siamese_lab.data.io.messages import faults
from siamese_lab.data.io.sources import Sources, packed
from siamese_lab.data.official_protocols import OneShot
from siamese_lab.data.sets.omniglot_runs import read_runs
from siamese_lab.data.splits import ClassSplit
from siamese_lab.data.tables.image_table import FORMAT, ImageTable, cached, check_stored, default_cache
from siamese_lab.errors import ResourceError, UserError
from siamese_lab.registry import did_you_mean

FOLDER = "omniglot-py"
CHARACTERS = {"images_background": 964, "images_evaluation": 659}
DRAWINGS = 20
VALIDATION_ALPHABETS = ("Balinese", "Early_Aramaic", "Hebrew", "Korean", "Latin")
MIRRORS = (
    "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",
    "https://github.com/brendenlake/omniglot/raw/master/python/",
)


def repository_file(name: str, md5: str, largest: int) -> Remote:
    """Describe a file of the authors' repository."""
    return Remote(name, tuple(f"{mirror}{name}" for mirror in MIRRORS), f"md5:{md5}", largest)


PARTS = {
    "images_background": repository_file("images_background.zip", "68d2efa1b9178cc56df9314c21c6e718", 12_000_000),
    "images_evaluation": repository_file("images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811", 12_000_000),
}
ONE_SHOT_RUNS = repository_file("one-shot-classification/all_runs.zip", "e8996daecdf12afeeb4a53a179f06b19", 352_787)


@register("omniglot")
class Omniglot(DataModule):
    """Reads Omniglot from a copy in torchvision's layout, archived or unpacked, or downloads it.

    Args:
        root: folder that may contain `omniglot-py/`. It is only read.
        cache: folder for downloads and decoded images; None is the user's cache folder.
        image_size: height and width in pixels; the originals have 105.
        rotations: if True, add every training character rotated by 90°, 180° and 270° as three further classes.
        validation_alphabets: background alphabets that are held out for validation, with all their characters.
        **common: see `DataModule`.
    """

    title = "Omniglot"
    order = 40
    channels = 1

    def __init__(
        self,
        root: str | Path | None = None,
        cache: str | Path | None = None,
        image_size: int = 28,
        rotations: bool = True,
        validation_alphabets: Sequence[str] = VALIDATION_ALPHABETS,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if image_size < 1:
            raise UserError(f"data.image_size must be at least 1 pixel, but is {image_size}.")
        self.cache = Path(cache) if cache is not None else default_cache()
        self.sources = Sources(FOLDER, root, self.cache)
        self.image_size = image_size
        self.rotations = rotations
        self.validation_alphabets = tuple(validation_alphabets)

    def load(self) -> Splits:
        """Decode both parts, or load them from the cache, and split the background set by alphabets."""
        background, evaluation = (self._part(part) for part in CHARACTERS)
        kept, held = split_by_alphabet(background.class_names, self.validation_alphabets)
        train = background.classes(kept)
        return Splits(train.with_rotations() if self.rotations else train, background.classes(held), evaluation)

    def one_shot_runs(self) -> Path:
        """Return the archive or folder of Lake's 20 runs of within-alphabet 20-way classification.

        Raises:
            UserError: if there is no copy and the download fails.
        """
        return self.sources.find_or_download(ONE_SHOT_RUNS, ONE_SHOT_RUNS.name.removesuffix(".zip"))

    @cached_property
    def one_shot(self) -> OneShot:
        """The drawings of Lake's runs, converted like the set's other images, and the correct answers.

        Raises:
            UserError: if there is no copy and the download fails, or if the copy is incomplete or unreadable.
        """
        return read_runs(self.one_shot_runs(), self._convert)

    def converted(self, image: Image.Image) -> Converted:
        """Convert to white strokes on black, resized with anti-aliasing. The files have black strokes on white."""
        return convert_drawing(image, self.image_size)

    def provenance(self) -> dict[str, str]:
        """Return the location of both parts and of the cache."""
        paths = [self._files(part).path for part in CHARACTERS]
        return {
            "files": ", ".join(path.name for path in paths),
            "from": self.sources.origin(paths[0]),
            "cache": str(self.cache),
        }

    def absent(self) -> list[str]:
        """Return one sentence for each of the two parts that has no local copy."""
        return [self.sources.absent(f"{part}.zip") for part in CHARACTERS if self.sources.find(*packed(part)) is None]

    def verify(self) -> list[str]:
        """Read every drawing, every cached table and, if there is a copy of them, the one-shot runs."""
        found = []
        for part in CHARACTERS:
            found += faults(partial(self._verify_part, part))
        return found + faults(self._verify_runs)

    def _verify_part(self, part: str) -> list[str]:
        path = self.sources.find(*packed(part))
        if path is None:
            return [self.sources.absent(f"{part}.zip")]
        files = list_images(path)

        def check_drawings() -> list[str]:
            check_files(files, part)
            return unreadable(files, self._convert)

        return [
            *faults(partial(self.sources.check_download, PARTS[part], path)),
            *faults(check_drawings),
            *faults(lambda: check_stored(self.cache / self._key(part, files))),
        ]

    def _verify_runs(self) -> list[str]:
        path = self.sources.find(*packed(ONE_SHOT_RUNS.name.removesuffix(".zip")))
        if path is None:
            return []
        changed = self.sources.check_download(ONE_SHOT_RUNS, path)
        read_runs(path, self._convert)
        return changed

    def _files(self, part: str) -> ImageFiles:
        return list_images(self.sources.find_or_download(PARTS[part], *packed(part)))

    def _part(self, part: str) -> ImageTable:
        files = self._files(part)
        return cached(self.cache, self._key(part, files), lambda: self._decode(files, part))

    def _key(self, part: str, files: ImageFiles) -> str:
        return f"omniglot-{part}-{self.image_size}px-{files.key}-v{FORMAT}"

    def _decode(self, files: ImageFiles, part: str) -> ImageTable:
        check_files(files, part)
        characters = [character_of(name) for name in files.names]
        names = sorted(set(characters))
        number = {name: label for label, name in enumerate(names)}
        labels_N = torch.tensor([number[character] for character in characters])
        return ImageTable(decode(files, self._convert), labels_N, tuple(names))

    def _convert(self, image: Image.Image) -> Image.Image:
        """Convert one of the set's own files. Their paper is always white, so the paper is not detected."""
        side = (self.image_size, self.image_size)
        return ImageChops.invert(image.convert("L").resize(side, Image.Resampling.BILINEAR))


def check_files(files: ImageFiles, part: str) -> None:
    """Raise UserError unless these are exactly the drawings of the part."""
    drawings = Counter(character_of(name) for name in files.names)
    if len(drawings) != CHARACTERS[part] or set(drawings.values()) != {DRAWINGS}:
        expected = CHARACTERS[part]
        raise ResourceError(
            f"{files.path} should hold {expected} characters of {DRAWINGS} drawings ({expected * DRAWINGS} images), "
            f"but holds {len(drawings)} characters and {len(files.names)} images. It is incomplete or another "
            "archive: replace it with the original."
        )


def character_of(name: str) -> str:
    """Return 'Alphabet/characterNN' from the path of a drawing."""
    return "/".join(PurePosixPath(name).parts[-3:-1])


def split_by_alphabet(characters: Sequence[str], held_out: Sequence[str]) -> ClassSplit:
    """Split classes into the classes of all other alphabets and the classes of `held_out`.

    Raises:
        UserError: if an alphabet does not exist, or if none or all alphabets are held out.
    """
    alphabet_of = [name.split("/")[0] for name in characters]
    known = sorted(set(alphabet_of))
    for alphabet in held_out:
        if alphabet not in known:
            raise UserError(
                f"There is no background alphabet {alphabet!r}.{did_you_mean(alphabet, known)} "
                f"Available: {', '.join(known)}."
            )
    if not 0 < len(set(held_out)) < len(known):
        raise UserError(
            f"data.validation_alphabets must name between 1 and {len(known) - 1} alphabets, but has {len(held_out)}."
        )
    kept = [label for label, alphabet in enumerate(alphabet_of) if alphabet not in held_out]
    held = [label for label, alphabet in enumerate(alphabet_of) if alphabet in held_out]
    return ClassSplit(kept, held)
