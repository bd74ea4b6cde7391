"""Data sets: read image files, split them, and yield class-balanced P×K batches.

Lives here: the base class `DataModule`, the batches, the splits, official protocols, the previews and the command
`python -m siamese_lab.data`. `tables` holds images by index, `io` reads and downloads files, `convert` converts single
images, `augment` changes batches on the device, `sets` holds one file per data set. Networks, losses and samplers live
elsewhere and are not imported here.
"""

from siamese_lab.data.datamodule import TRAINED_CLASSES, DataModule, Splits, available, build, register, registry
from siamese_lab.data.tables.image_table import ImageTable

registry.discover(__name__, __path__)
__all__ = ["TRAINED_CLASSES", "DataModule", "ImageTable", "Splits", "available", "build", "register"]
