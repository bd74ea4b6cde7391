"""The data sets: files in, class-balanced P×K batches out."""

from siamese_lab.data.datamodule import TRAINED_CLASSES, DataModule, Splits
from siamese_lab.data.registry import available, build, register, registry
from siamese_lab.data.tables.image_table import ImageTable

registry.discover(__name__, __path__)
__all__ = ["TRAINED_CLASSES", "DataModule", "ImageTable", "Splits", "available", "build", "register"]
