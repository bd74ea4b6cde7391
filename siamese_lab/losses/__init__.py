"""What is learnt from the selected triplets."""

from siamese_lab.losses.base import Loss, LossOutput, available, build, register, registry

registry.discover(__name__, __path__)
__all__ = ["Loss", "LossOutput", "available", "build", "register", "registry"]
