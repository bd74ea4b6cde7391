"""The losses by name."""

from siamese_lab.losses.base import Loss
from siamese_lab.registry import Registry

registry: Registry[Loss] = Registry("loss")
register = registry.register
available = registry.available
build = registry.build
