"""The data sets by name."""

from siamese_lab.data.datamodule import DataModule
from siamese_lab.registry import Registry

registry: Registry[DataModule] = Registry("data set")
register = registry.register
available = registry.available
build = registry.build
