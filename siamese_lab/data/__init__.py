"""Data sets: read image files, split them, and yield class-balanced P×K batches.

Lives here: the base class `DataModule`, the batches, the splits, official protocols, the previews and the command
`python -m siamese_lab.data`. `tables` holds images by index, `io` reads and downloads files, `convert` converts single
images, `augment` changes batches on the device, `sets` holds one file per data set. Networks, losses and samplers live
elsewhere and are not imported here.

The names of the package are imported at their first use, so that `python -m siamese_lab.data --help` need not wait for
PyTorch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siamese_lab.data.datamodule import TRAINED_CLASSES, DataModule, Splits, available, build, register, registry
    from siamese_lab.data.tables.image_table import ImageTable

__all__ = [
    "TRAINED_CLASSES",
    "DataModule",
    "ImageTable",
    "Splits",
    "available",
    "build",
    "register",
    "registry",
]


def __getattr__(name: str) -> Any:
    """Import the public names and register all data sets, at the first use of a name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from siamese_lab.data import datamodule
    from siamese_lab.data.tables.image_table import ImageTable

    public = {each: getattr(datamodule, each) for each in __all__ if each != "ImageTable"}
    globals().update(public, ImageTable=ImageTable)  # before the sets are imported, because they may use these names
    datamodule.registry.discover(__name__, __path__)
    return globals()[name]
