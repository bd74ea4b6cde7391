"""The losses over selected triplets, one file each, and their base class.

The selection itself is in `siamese_lab.samplers`.
"""

from siamese_lab.losses.base import Loss, LossOutput, available, build, register, registry

registry.discover(__name__, __path__)
__all__ = ["Loss", "LossOutput", "available", "build", "register", "registry"]
