"""Fashion-MNIST: 70,000 articles of clothing of 28×28 pixels (Xiao et al. 2017, arXiv:1708.07747)."""

from pathlib import Path
from typing import Any

from siamese_lab.data import idx_files
from siamese_lab.data.datamodule import DataModule, Splits
from siamese_lab.data.idx_files import IdxFile, IdxPart, IdxSet
from siamese_lab.data.image_table import default_cache
from siamese_lab.data.registry import register
from siamese_lab.data.sources import Sources

FOLDER = "FashionMNIST/raw"
FASHION_MNIST = IdxSet(
    key="fashion_mnist",
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    train=IdxPart(
        IdxFile("train-images-idx3-ubyte", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
        IdxFile("train-labels-idx1-ubyte", "25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
    ),
    test=IdxPart(
        IdxFile("t10k-images-idx3-ubyte", "bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
        IdxFile("t10k-labels-idx1-ubyte", "bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
    ),
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)


@register("fashion_mnist")
class FashionMnist(DataModule):
    """Fashion-MNIST from a copy in torchvision's layout, or else downloaded.

    Args:
        root: the folder that may hold `FashionMNIST/raw/`; only read.
        cache: where downloads and decoded images are kept; by default the user's cache folder.
        protocol: `disjoint` trains on the first five classes and is tested on the others; `closed` trains and tests on
            all ten.
        hold_out: one in so many training images of each class is held out for validation.
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
        return idx_files.load_splits(FASHION_MNIST, self.sources, self.cache, self.protocol, self.hold_out)

    def provenance(self) -> dict[str, str]:
        """Where the four files are."""
        return idx_files.provenance(FASHION_MNIST, self.sources, self.cache)

    def verify(self) -> list[str]:
        """Compare the four files with the official ones."""
        return idx_files.problems(FASHION_MNIST, self.sources, self.cache)
