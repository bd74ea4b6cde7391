"""MNIST: 70,000 handwritten digits of 28×28 pixels (LeCun et al. 1998, doi:10.1109/5.726791)."""

from pathlib import Path
from typing import Any

from siamese_lab.data import idx_files
from siamese_lab.data.datamodule import DataModule, Splits
from siamese_lab.data.idx_files import IdxFile, IdxPart, IdxSet
from siamese_lab.data.image_table import default_cache
from siamese_lab.data.registry import register
from siamese_lab.data.sources import Sources

FOLDER = "MNIST/raw"
MNIST = IdxSet(
    key="mnist",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    train=IdxPart(
        IdxFile("train-images-idx3-ubyte", "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
        IdxFile("train-labels-idx1-ubyte", "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
    ),
    test=IdxPart(
        IdxFile("t10k-images-idx3-ubyte", "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
        IdxFile("t10k-labels-idx1-ubyte", "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
    ),
    class_names=tuple("0123456789"),
)


@register("mnist")
class Mnist(DataModule):
    """MNIST from a copy in torchvision's layout, or else downloaded.

    Args:
        root: the folder that may hold `MNIST/raw/`; only read.
        cache: where downloads and decoded images are kept; by default the user's cache folder.
        protocol: `disjoint` trains on the digits 0–4 and is tested on 5–9; `closed` trains and tests on all ten.
        hold_out: one in so many training images of each digit is held out for validation.
        **common: see `DataModule`.
    """

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
        self.sources = Sources(FOLDER, root, self.cache)
        self.protocol = idx_files.check_protocol(protocol)
        self.hold_out = hold_out

    def load(self) -> Splits:
        """Read the four files, or the cache of them."""
        return idx_files.load_splits(MNIST, self.sources, self.cache, self.protocol, self.hold_out)

    def provenance(self) -> dict[str, str]:
        """Where the four files are."""
        return idx_files.provenance(MNIST, self.sources, self.cache)

    def verify(self) -> list[str]:
        """Compare the four files with the official ones."""
        return idx_files.problems(MNIST, self.sources, self.cache)
