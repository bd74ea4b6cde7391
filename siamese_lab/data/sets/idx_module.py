"""The data module of a set that consists of four IDX files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from siamese_lab.data.convert.common import Converted
from siamese_lab.data.convert.drawing import convert_drawing
from siamese_lab.data.datamodule import DataModule, Splits
from siamese_lab.data.io import idx_files
from siamese_lab.data.io.sources import Sources
from siamese_lab.data.splits import checked_ratio
from siamese_lab.data.tables.image_table import default_cache
from siamese_lab.errors import UserError
from siamese_lab.runs.classes import listed


class IdxDataModule(DataModule):
    """Reads an IDX set from a copy in torchvision's layout, or downloads it. A subclass sets `official`.

    Args:
        root: folder that may contain the set's folder, such as `MNIST/raw/`. It is only read.
        cache: folder for downloads and decoded images; None is the user's cache folder.
        protocol: `disjoint` trains on five classes and tests on the others; `closed` trains and tests on all ten.
        split: the five training classes of `disjoint`: 0 takes the first five, any other number a permutation that is
            drawn from it (see `classes_of_split`).
        validation_fraction: fraction of the training images of each class that are held out for validation (see
            `hold_out_images`).
        **common: see `DataModule`.
    """

    official: ClassVar[idx_files.IdxSet]
    channels = 1
    image_size = idx_files.SIDE

    def __init__(
        self,
        root: str | Path | None = None,
        cache: str | Path | None = None,
        protocol: str = "disjoint",
        validation_fraction: float = 0.1,
        split: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        checked_ratio(validation_fraction)
        self.cache = Path(cache) if cache is not None else default_cache()
        self.sources = Sources(self.official.folder, root, self.cache)
        self.protocol: str = idx_files.check_protocol(protocol)
        self.split = idx_files.check_split(split, protocol)
        self.validation_fraction = validation_fraction

    def load(self) -> Splits:
        """Load the tables from the four files or from their cache."""
        return idx_files.load_splits(
            self.official, self.sources, self.cache, self.protocol, self.validation_fraction, self.split
        )

    def check_unseen(self, training_data: Mapping[str, Any]) -> None:
        """Raise UserError if a network was trained on classes that this split tests as unseen ones."""
        if self.protocol != "disjoint" or training_data["name"] != self.official.key:
            return
        names = self.official.class_names
        trained: Sequence[int] = range(len(names))
        if training_data.get("protocol", "disjoint") == "disjoint":
            trained = idx_files.classes_of_split(training_data.get("split", 0), len(names)).kept
        tested = idx_files.classes_of_split(self.split, len(names)).held
        if seen := [names[label] for label in tested if label in trained]:
            raise UserError(
                f"A network trained on {len(trained)} classes of {self.title} has seen {listed(seen)}, which "
                f"data.split={self.split} tests as unseen. Train one with data.split={self.split}, or evaluate this "
                "network on its own classes."
            )

    def converted(self, image: Image.Image) -> Converted:
        """Convert to white on black, like the files. The drawing is not centered, although MNIST's digits are."""
        return convert_drawing(image, self.image_size)

    def provenance(self) -> dict[str, str]:
        """Return the location of the four files and of the cache."""
        return idx_files.provenance(self.official, self.sources, self.cache)

    def absent(self) -> list[str]:
        """Return one sentence for each of the four files that has no local copy."""
        return idx_files.absent(self.official, self.sources)

    def verify(self) -> list[str]:
        """Compare the four files with the official files."""
        return idx_files.problems(self.official, self.sources, self.cache)
