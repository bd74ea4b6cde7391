"""The backbones by name."""

from siamese_lab.networks.backbone import Backbone
from siamese_lab.registry import Registry

registry: Registry[Backbone] = Registry("network")
register = registry.register
available = registry.available
