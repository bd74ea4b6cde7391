"""The strategies by name."""

from siamese_lab.registry import Registry
from siamese_lab.samplers.base import Sampler

registry: Registry[Sampler] = Registry("sampler")
register = registry.register
available = registry.available
build = registry.build
