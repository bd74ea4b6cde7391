"""Omniglot: 1,623 characters of 50 alphabets, 20 drawings each (Lake et al. 2015, doi:10.1126/science.aab3050).

The 30 background alphabets (964 characters) are trained on, five of them held out whole for validation; the 20 of the
evaluation set (659 characters, 13,180 images) are tested.
"""

import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from siamese_lab.data.datamodule import DataModule, Splits
from siamese_lab.data.image_files import ImageFiles, list_images
from siamese_lab.data.image_table import FORMAT, ImageTable, cached, default_cache
from siamese_lab.data.registry import register
from siamese_lab.registry import did_you_mean

FOLDER = "omniglot-py"
CHARACTERS = {"images_background": 964, "images_evaluation": 659}
DRAWINGS = 20
VALIDATION_ALPHABETS = ("Balinese", "Early_Aramaic", "Hebrew", "Korean", "Latin")


@register("omniglot")
class Omniglot(DataModule):
    """Omniglot from a local copy in torchvision's layout, archived or unpacked.

    Args:
        root: the folder that holds `omniglot-py/`.
        cache: where the decoded images are kept; by default the user's cache folder.
        image_size: height and width, from the originals' 105.
        rotations: turn every training character by 90°, 180° and 270° into three classes more.
        validation_alphabets: background alphabets held out whole.
        **common: see `DataModule`.
    """

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
        if not 1 <= image_size <= 105:
            raise ValueError(
                f"Omniglot's drawings have 105×105 pixels; data.image_size must be 1…105, not {image_size}."
            )
        self.root = Path(root) if root is not None else None
        self.cache = Path(cache) if cache is not None else default_cache()
        self.image_size = image_size
        self.rotations = rotations
        self.validation_alphabets = tuple(validation_alphabets)

    def load(self) -> Splits:
        """Decode both parts, or take them from the cache, and split the background by alphabets."""
        background, evaluation = (self._part(part) for part in CHARACTERS)
        train, validation = split_by_alphabet(background, self.validation_alphabets)
        return Splits(train.with_rotations() if self.rotations else train, validation, evaluation)

    def _part(self, part: str) -> ImageTable:
        files = list_images(find_part(self.root, part))
        check_files(files, part)
        key = f"omniglot-{part}-{self.image_size}px-{files.key}-v{FORMAT}"
        return cached(self.cache, key, lambda: decode(files, self.image_size))


def find_part(root: Path | None, part: str) -> Path:
    """The archive or the folder of one part.

    Raises:
        ValueError: if there is none.
    """
    if root is None:
        raise ValueError(
            "Omniglot is read from a local copy, but the lab was not told where it is. Set paths.data=FOLDER or the "
            f"environment variable SIAMESE_LAB_DATA to the folder that holds {FOLDER}/images_background.zip and "
            f"{FOLDER}/images_evaluation.zip."
        )
    if not root.is_dir():
        raise ValueError(
            f"paths.data (or SIAMESE_LAB_DATA) is {root}, but there is no such folder. "
            f"It should hold {FOLDER}/{part}.zip."
        )
    for place in (root / FOLDER / part, root / FOLDER / f"{part}.zip"):
        if place.exists():
            return place
    held = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
    raise ValueError(f"{root} should hold {FOLDER}/{part}.zip or {FOLDER}/{part}/, but holds {held}.")


def check_files(files: ImageFiles, part: str) -> None:
    """Raise ValueError unless these are all the drawings of the part, and nothing else."""
    drawings: dict[str, int] = {}
    for name in files.names:
        drawings[character_of(name)] = drawings.get(character_of(name), 0) + 1
    if len(drawings) != CHARACTERS[part] or set(drawings.values()) != {DRAWINGS}:
        expected = CHARACTERS[part]
        raise ValueError(
            f"{files.place} should hold {expected} characters of {DRAWINGS} drawings ({expected * DRAWINGS} images), "
            f"but holds {len(drawings)} characters and {len(files.names)} images. It is incomplete or something else: "
            "replace it by the original."
        )


def character_of(name: str) -> str:
    """'Alphabet/characterNN' from the path of a drawing."""
    return "/".join(PurePosixPath(name).parts[-3:-1])


def decode(files: ImageFiles, image_size: int) -> ImageTable:
    """All drawings as white strokes on black, made smaller with anti-aliasing."""
    side = (image_size, image_size)
    images = [
        255 - np.asarray(Image.open(io.BytesIO(content)).convert("L").resize(side, Image.Resampling.BILINEAR))
        for content in track(files.contents(), f"Decoding {files.place.name}", total=len(files.names), transient=True)
    ]
    characters = [character_of(name) for name in files.names]
    names = sorted(set(characters))
    number = {name: label for label, name in enumerate(names)}
    labels_N = torch.tensor([number[character] for character in characters])
    return ImageTable(torch.from_numpy(np.stack(images))[:, None], labels_N, tuple(names))


def split_by_alphabet(table: ImageTable, held_out: Sequence[str]) -> tuple[ImageTable, ImageTable]:
    """Part a table into the classes of all other alphabets and those of `held_out`.

    Raises:
        ValueError: for an alphabet that is not there, and where none or all are held out.
    """
    alphabet_of = [name.split("/")[0] for name in table.class_names]
    known = sorted(set(alphabet_of))
    for alphabet in held_out:
        if alphabet not in known:
            raise ValueError(
                f"There is no background alphabet {alphabet!r}.{did_you_mean(alphabet, known)} "
                f"Available: {', '.join(known)}."
            )
    if not 0 < len(set(held_out)) < len(known):
        raise ValueError(
            f"data.validation_alphabets must name between 1 and {len(known) - 1} alphabets, but has {len(held_out)}."
        )
    kept = [label for label, alphabet in enumerate(alphabet_of) if alphabet not in held_out]
    held = [label for label, alphabet in enumerate(alphabet_of) if alphabet in held_out]
    return table.classes(kept), table.classes(held)
