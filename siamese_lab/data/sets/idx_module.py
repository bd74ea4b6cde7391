"""The data module of a set that is held in four IDX files."""

from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from siamese_lab.data.convert.common import Converted
from siamese_lab.data.convert.drawing import convert_drawing
from siamese_lab.data.datamodule import DataModule, Splits
from siamese_lab.data.io import idx_files
from siamese_lab.data.io.sources import Sources
from siamese_lab.data.tables.image_table import default_cache


class IdxDataModule(DataModule):
    """Such a set from a copy in torchvision's layout, or else downloaded; a subclass says which.

    Args:
        root: the folder that may hold the set's folder, such as `MNIST/raw/`; only read.
        cache: where downloads and decoded images are kept; by default the user's cache folder.
        protocol: `disjoint` trains on the first five classes and is tested on the others; `closed` trains and tests on
            all ten.
        hold_out: one in so many training images of each class is held out for validation.
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
        hold_out: int = 10,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.cache = Path(cache) if cache is not None else default_cache()
        self.sources = Sources(self.official.folder, root, self.cache)
        self.protocol: str = idx_files.check_protocol(protocol)
        self.hold_out = hold_out

    def load(self) -> Splits:
        """Read the four files, or the cache of them."""
        return idx_files.load_splits(self.official, self.sources, self.cache, self.protocol, self.hold_out)

    def converted(self, image: Image.Image) -> Converted:
        """White on black, as the files have it. What is drawn stays where it is, while MNIST's digits are centred."""
        return convert_drawing(image, self.image_size)

    def provenance(self) -> dict[str, str]:
        """Where the four files are."""
        return idx_files.provenance(self.official, self.sources, self.cache)

    def absent(self) -> list[str]:
        """Whichever of the four files there is no copy of."""
        return idx_files.absent(self.official, self.sources)

    def verify(self) -> list[str]:
        """Compare the four files with the official ones."""
        return idx_files.problems(self.official, self.sources, self.cache)
